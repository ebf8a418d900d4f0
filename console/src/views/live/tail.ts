// The newest of what comes in, for a page that shows it or holds it.

/** What a row has to have to be known again. */
export interface Numbered {
  /** Its place in the journal. */
  readonly seq: number;
}

/** Rows that are kept; older ones are in the lists. */
export const ROWS_MAX = 5_000;

/** Rows as they come, newest first when they are shown. Each is taken once, and each that is not shown is counted. */
export class Tail<Row extends Numbered> {
  /** What is shown, newest first. */
  rows: readonly Row[] = [];
  /** Rows that came and were never shown, and records that the server passed over. */
  dropped = 0;
  /** The place behind which to go on after an end of the connection. */
  last: string | null = null;
  #waiting: Row[] = [];
  #came = 0;
  /** What is shown and what waits, by its place: a connection that begins again may bring it once more. */
  #known = new Map<number, Row>();

  /** Takes rows, oldest first; says how many of them are new. */
  take(batch: readonly Row[]): number {
    let fresh = 0;
    for (const row of batch) {
      if (this.#known.has(row.seq)) continue;
      this.#known.set(row.seq, row);
      this.#waiting.push(row);
      fresh += 1;
    }
    this.#came += fresh;
    if (this.#waiting.length > 2 * ROWS_MAX) this.#waiting = this.#newest(this.#waiting);
    return fresh;
  }

  /** The server's record ends before what has come: it is another one, or its store is built anew. It goes on behind this place; places begin anew. */
  reset(seq: number | null): void {
    this.last = seq === null ? null : String(seq);
    this.#known.clear();
  }

  /** Counts records that the server passed over. */
  pass(count: number): void {
    this.dropped += count;
  }

  /** What has come since it was shown last, with what there was no room for. */
  get held(): number {
    return this.#came;
  }

  /** Of what has come since, how much there was no room for. */
  get lost(): number {
    return this.#came - this.#waiting.length;
  }

  /** Shows what has come. */
  show(): void {
    if (this.#came === 0) return;
    const shown = this.#newest(this.#waiting);
    this.dropped += this.#came - shown.length;
    const kept = this.rows.slice(0, ROWS_MAX - shown.length);
    for (let at = kept.length; at < this.rows.length; at += 1) this.#forget(this.rows[at]);
    this.rows = shown.toReversed().concat(kept);
    this.#waiting = [];
    this.#came = 0;
  }

  /** The newest of what waits, for which there is room; the others are forgotten. */
  #newest(waiting: Row[]): Row[] {
    const over = waiting.length - ROWS_MAX;
    if (over <= 0) return waiting;
    for (let at = 0; at < over; at += 1) this.#forget(waiting[at]);
    return waiting.slice(over);
  }

  /** A row is gone: should it come again, it is new. Another row of its place, of a record that began anew, stays known. */
  #forget(row: Row | undefined): void {
    if (row && this.#known.get(row.seq) === row) this.#known.delete(row.seq);
  }
}
