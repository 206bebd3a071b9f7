/**
 * Which tokens of a reference are kept (paper 3.3): for each memory layer and kv head the k body tokens with the highest
 * score. Different heads keep different tokens. Ties go to the lower index, so that a memory is the same every time.
 */

/** Indices of the `count` highest scores, ascending; equal scores favour the lower index. */
export function selectTokens(scores: ArrayLike<number>, count: number): number[] {
  const order = Array.from({ length: scores.length }, (_, index) => index);
  order.sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
  return order.slice(0, count).sort((a, b) => a - b);
}

/**
 * Scores for random selection: the same reference, layer and head always draw the same numbers in [0, 1).
 * @param seed any integer that identifies the draw.
 */
export function randomScores(count: number, seed: number): Float64Array {
  let state = seed >>> 0;
  return Float64Array.from({ length: count }, () => {
    // mulberry32 (Tommy Ettinger, public domain): 32 bits of state are plenty for 128 draws.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  });
}
