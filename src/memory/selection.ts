/**
 * Which tokens of a reference are kept (paper 3.3): for each memory layer and kv head the k body tokens with the highest
 * score. Different heads keep different tokens. Ties go to the lower index, so that a memory is the same every time.
 *
 * Where scores say what an answer needs, heads agree, and what none of them keeps is lost. So those tokens are spread: head
 * after head and layer after layer the scores are score_j exp(-λ n_j), n_j being how many heads before keep token j, where a
 * head counts δ for each layer that has passed. λ = 0.3 and δ = 0.8 were chosen on held-out questions (docs/quality.md).
 */

/** Indices of the `count` highest scores, ascending; equal scores favour the lower index. */
export function selectTokens(scores: ArrayLike<number>, count: number): number[] {
  const order = Array.from({ length: scores.length }, (_, index) => index);
  order.sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
  return order.slice(0, count).sort((a, b) => a - b);
}

const spread = { weight: 0.3, fading: 0.8 } as const;

/**
 * Indices of the kept tokens, spread over heads and layers.
 * @param scores positive, `[layers, kvHeads, tokens]`
 * @param count for each head
 * @returns `[layers * kvHeads]` lists, each ascending
 */
export function selectSpread(scores: Float32Array, kvHeads: number, tokens: number, count: number): number[][] {
  const kept = new Float64Array(tokens);
  return Array.from({ length: scores.length / tokens }, (_, plane) => {
    if (plane % kvHeads === 0)
      for (let token = 0; token < tokens; token++) kept[token] = (kept[token] as number) * spread.fading;
    const own = Float64Array.from(
      kept,
      (heads, token) => (scores[plane * tokens + token] as number) * Math.exp(-spread.weight * heads),
    );
    const selected = selectTokens(own, count);
    for (const token of selected) kept[token] = (kept[token] as number) + 1;
    return selected;
  });
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
