/** The networks of `graph/answer-classifier.ts` by its formulas, one number after the other. */

const hidden = 32;

/**
 * For each token the probability that an answer contains it.
 * @param data of networks, one behind the other, as an adapter has them
 * @param values of each token
 */
export function plainAnswerProbabilities(data: Float32Array, values: readonly (readonly number[])[]): number[] {
  const size = ((values[0]?.length ?? 0) + 1) * hidden + (5 * hidden + 1) * hidden + 2 * hidden + 2;
  const count = data.length / size;
  if (!Number.isInteger(count)) throw new Error(`${data.length} numbers are no networks of ${size}`);
  const all = Array.from({ length: count }, (_, i) => plainLogOdds(data.subarray(i * size, (i + 1) * size), values));
  return values.map((_, token) => {
    const mean = all.reduce((sum, logOdds) => sum + (logOdds[token] as number), 0) / count;
    return 1 / (1 + Math.exp(-mean));
  });
}

/** Of one network. */
function plainLogOdds(data: Float32Array, values: readonly (readonly number[])[]): number[] {
  const width = values[0]?.length ?? 0;
  let read = 0;
  const take = (count: number) => {
    read += count;
    return data.subarray(read - count, read);
  };
  const [a, aBias] = [take(width * hidden), take(hidden)];
  const [n, nBias] = [take(5 * hidden * hidden), take(hidden)];
  const [y, yBias] = [take(2 * hidden), take(2)];
  const own = values.map((value) => affine(value, a, aBias).map(silu));
  const outside = new Array<number>(hidden).fill(0);
  return values.map((_, token) => {
    const around = [-2, -1, 0, 1, 2].flatMap((distance) => own[token + distance] ?? outside);
    const others = affine(around, n, nBias).map(silu);
    const [no, yes] = affine(
      others.map((other, i) => other + (own[token]?.[i] as number)),
      y,
      yBias,
    ) as [number, number];
    return yes - no;
  });
}

/** x W + b, W by rows. */
function affine(x: readonly number[], weights: Float32Array, bias: Float32Array): number[] {
  return Array.from(bias, (constant, column) =>
    x.reduce((sum, value, row) => sum + value * (weights[row * bias.length + column] as number), constant),
  );
}

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}
