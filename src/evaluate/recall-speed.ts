/** How long a recall's search takes in a large bank. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { NewReference } from '../bank/bank.ts';
import { openBank } from '../bank/sqlite.ts';
import { recalledMemories } from '../generate/recall.ts';
import { seededRandom } from '../generate/sampling.ts';
import { identityOf, type OpenedModel } from '../generate/workspace.ts';
import { median } from '../quantile.ts';
import type { Chunk } from '../retrieval/chunks.ts';
import type { Embedder } from '../retrieval/embedder.ts';
import { search } from '../retrieval/search.ts';
import type { SpeedOptions } from './speed.ts';

export interface RecallSpeed {
  readonly references: number;
  /** Hybrid search, median, milliseconds. */
  readonly ms: number;
  /** Embedding one query, median, milliseconds. */
  readonly embedMs: number;
}

const queries = 50;
const referencesOfDocument = 1000;

/**
 * Measures hybrid search among `references` references. They are made of the words of real ones in random order, with
 * vectors near those of real ones: what the search costs depends on their number and their words, not on their sense.
 * @throws the signal's reason
 */
export async function measureRecall(
  opened: OpenedModel,
  embedder: Embedder,
  chunks: readonly Chunk[],
  references: number,
  { onNotice, signal }: Pick<SpeedOptions, 'onNotice' | 'signal'>,
): Promise<RecallSpeed> {
  const folder = mkdtempSync(join(tmpdir(), 'memory3-recall-'));
  using cleanUp = new DisposableStack();
  cleanUp.defer(() => rmSync(folder, { recursive: true }));
  const bank = cleanUp.use(
    openBank(join(folder, 'large.memory3'), { mode: 'write', identity: await identityOf(opened, embedder) }),
  );
  onNotice(`Filling a bank with ${references} references ...`);
  const random = seededRandom(1);
  const vectors = await embedder.embedPassages(chunks.map(({ text }) => text));
  for (let done = 0; done < references; done += referencesOfDocument) {
    // Storing waits for nothing, so Ctrl+C would not be heard.
    await setImmediate();
    signal?.throwIfAborted();
    const count = Math.min(referencesOfDocument, references - done);
    bank.putDocument(madeDocument(`document ${done}`, count, chunks, vectors, random));
  }
  bank.prepareSearch();
  const embedTimes: number[] = [];
  const searchTimes: number[] = [];
  for (let index = 0; index < queries; index++) {
    signal?.throwIfAborted();
    const { text } = chunks[index % chunks.length] as Chunk;
    const query = text.slice(0, text.length / 2);
    const started = performance.now();
    const [vector] = await embedder.embedQueries([query]);
    const embedded = performance.now();
    search(bank, { text: query, vector: vector as Float32Array }, { count: recalledMemories });
    searchTimes.push(performance.now() - embedded);
    embedTimes.push(embedded - started);
  }
  return { references, ms: median(searchTimes), embedMs: median(embedTimes) };
}

function madeDocument(
  name: string,
  count: number,
  chunks: readonly Chunk[],
  vectors: readonly Float32Array[],
  random: () => number,
) {
  let text = '';
  const references = Array.from({ length: count }, (): NewReference => {
    const index = Math.floor(random() * chunks.length);
    const chunk = chunks[index] as Chunk;
    const own = chunk.text.split(/\s+/);
    const other = (chunks[Math.floor(random() * chunks.length)] as Chunk).text.split(/\s+/);
    const words = own.map((word) => (random() < 0.5 ? word : (other[Math.floor(random() * other.length)] as string)));
    const start = text.length;
    text += `${words.join(' ')}\n\n`;
    const noisy = (vectors[index] as Float32Array).map((value) => value + (random() - 0.5) * 0.1);
    const length = Math.hypot(...noisy);
    return {
      text: text.slice(start, -2),
      start,
      end: text.length - 2,
      tokens: chunk.tokens,
      vector: noisy.map((value) => value / length),
    };
  });
  return { name, title: null, mediaType: 'text/plain', text, references };
}
