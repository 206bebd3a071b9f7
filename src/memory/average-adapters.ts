/**
 * The mean of adapters that were trained from a common beginning (weight averaging, arXiv 2203.05482): one model, as large and
 * as fast as each, that is often better than all of them, since what one run learned by heart the others did not.
 *
 *   A = mean of A_i, B = mean of B_i
 *
 * The factors are averaged, not their products, which keeps the rank. That is near the mean of the products only where the
 * factors are alike, as those are of runs that went on from one adapter (`memory3 convert --from`). Classifiers of answers begin
 * each on its own, and the mean of the models needs another: it is left out (`train/conversion/fit-answers.ts` fits one).
 */
import { Memory3Error } from '../errors.ts';
import type { ModelFile } from '../model/open.ts';
import type { TensorToWrite } from '../model/safetensors-writer.ts';
import { type Adapter, answerClassifierName, openAdapter, writeAdapter } from './adapter.ts';
import type { AdapterCard } from './adapter-card.ts';

export interface AverageOptions {
  /** Folder of the new adapter. */
  readonly out: string;
  /** Command and results, for the card. */
  readonly card: Pick<AdapterCard, 'name' | 'training' | 'results'>;
}

/**
 * Writes the mean of adapters.
 * @param paths at least two, of the same base, scale, memory profile and tensors
 * @returns the path of the new adapter's file
 * @throws Memory3Error "usage" for fewer than two; "mismatch" if they do not fit together; what opening and writing throw.
 * @example
 * await averageAdapters(['first', 'second'], model, { out: 'mean', card: { name: 'mean', training: 'by hand', results: [] } });
 */
export async function averageAdapters(
  paths: readonly string[],
  base: ModelFile,
  { out, card }: AverageOptions,
): Promise<string> {
  if (paths.length < 2) throw new Memory3Error('usage', 'A mean is of at least two adapters.');
  using opened = new DisposableStack();
  const adapters: Adapter[] = [];
  for (const path of paths) adapters.push(opened.use(await openAdapter(path, base)));
  const [first, ...others] = adapters as [Adapter, ...Adapter[]];
  for (const other of others) {
    for (const key of ['scale', 'profile', 'matrixWidth', 'licence'] as const) {
      if (JSON.stringify(first.card[key]) !== JSON.stringify(other.card[key])) throw unlike(first, other, key);
    }
  }
  const all = adapters.map(({ tensors }) => tensors());
  const mean = new Map<string, TensorToWrite>();
  const names = new Set(all.flatMap((tensors) => [...tensors.keys()]));
  names.delete(answerClassifierName);
  for (const name of names) {
    const same = all.map((tensors) => tensors.get(name));
    const shapes = same.map((tensor) => `${tensor?.shape}`);
    const unfit = shapes.findIndex((shape) => shape !== shapes[0]);
    if (unfit >= 0) throw unlike(first, adapters[unfit] as Adapter, `tensor "${name}"`);
    mean.set(name, meanOf(same as readonly TensorToWrite[]));
  }
  const { answerLayers: _, profile, ...alike } = first.card;
  const scoring = profile.scoring === 'answer-weighted' ? 'received' : profile.scoring;
  return writeAdapter(
    out,
    {
      ...alike,
      profile: { ...profile, scoring },
      createdAt: new Date().toISOString(),
      data: dataOf(adapters),
      ...card,
    },
    mean,
    base.config,
  );
}

function meanOf(tensors: readonly TensorToWrite[]): TensorToWrite {
  const [{ shape, data }] = tensors as [TensorToWrite];
  const sum = (i: number) => tensors.reduce((total, one) => total + (one.data[i] as number), 0);
  return { shape, data: Float32Array.from(data, (_, i) => sum(i) / tensors.length), dtype: 'F16' };
}

/** Everything that one of them was trained on. */
function dataOf(adapters: readonly Adapter[]): AdapterCard['data'] {
  const rows = new Map<string, AdapterCard['data'][number]>();
  for (const row of adapters.flatMap(({ card }) => card.data)) {
    rows.set(row.name, { ...row, examples: Math.max(row.examples, rows.get(row.name)?.examples ?? 0) });
  }
  return [...rows.values()];
}

function unlike(first: Adapter, other: Adapter, what: string): Memory3Error {
  return new Memory3Error('mismatch', `${first.path} and ${other.path} differ in ${what}.`, {
    remedy: 'Average adapters that were trained alike, from a common beginning.',
  });
}
