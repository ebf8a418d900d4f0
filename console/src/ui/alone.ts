/** Where a value stands with none beside it: a line has nothing to draw there. */
export function alone(values: ArrayLike<number | null | undefined>): number[] | null {
  const isThere = (at: number) => values[at] !== null && values[at] !== undefined;
  const found = Array.from(values, (_, at) => at).filter((at) => isThere(at) && !isThere(at - 1) && !isThere(at + 1));
  return found.length > 0 ? found : null;
}
