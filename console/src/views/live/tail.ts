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
  /** Places of what is shown and of what waits: a connection that begins again may bring them once more. */
  #known = new Set<number>();

  /** Takes rows, oldest first; says how many of them are new. */
  take(batch: readonly Row[]): number {
    const fresh = batch.filter((row) => !this.#known.has(row.seq) && this.#known.add(row.seq));
    this.#waiting.push(...fresh);
    this.#came += fresh.length;
    if (this.#waiting.length > 2 * ROWS_MAX) this.#waiting = this.#forget(this.#waiting, -ROWS_MAX);
    return fresh.length;
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
    const shown = this.#waiting.length > ROWS_MAX ? this.#forget(this.#waiting, -ROWS_MAX) : this.#waiting;
    this.dropped += this.#came - shown.length;
    this.rows = this.#forget([...shown.toReversed(), ...this.rows], 0, ROWS_MAX);
    this.#waiting = [];
    this.#came = 0;
  }

  /** A part of rows; the places of the others are not kept. */
  #forget(rows: readonly Row[], from: number, to?: number): Row[] {
    const kept = rows.slice(from, to);
    if (kept.length < rows.length) {
      const stay = new Set(kept.map((row) => row.seq));
      for (const row of rows) if (!stay.has(row.seq)) this.#known.delete(row.seq);
    }
    return kept;
  }
}
