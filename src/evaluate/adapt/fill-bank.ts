/**
 * Adapting by adding: a domain's references with their vectors into a bank, then their memories.
 *
 * Both are timed commit by commit, so that a process that is killed loses the time of what it did not commit. What is in the bank
 * already is not done again.
 */
import { type LibraryParts, writeColdMemories } from '../../generate/library.ts';
import type { DomainText } from './material.ts';

/** A commit: vectors of a document's references, or a batch of memories. */
export interface FillTime {
  readonly kind: 'index' | 'write';
  readonly references: number;
  readonly seconds: number;
}

export interface FillOptions {
  readonly signal?: AbortSignal;
  readonly onCommit: (time: FillTime) => void;
}

/** @throws the signal's reason between two commits; what the bank throws */
export async function fillBank(
  parts: LibraryParts,
  texts: readonly DomainText[],
  { signal, onCommit }: FillOptions,
): Promise<void> {
  const { bank, embedder } = parts;
  for (const { name, heading, text, references } of texts) {
    signal?.throwIfAborted();
    const started = performance.now();
    if (bank.compare(name, text) === 'unchanged') continue;
    const vectors = await embedder.embedPassages(references.map((reference) => reference.text));
    bank.putDocument({
      name,
      title: heading,
      mediaType: 'text/plain',
      text,
      references: references.map((reference, index) => ({ ...reference, vector: vectors[index] as Float32Array })),
    });
    onCommit({ kind: 'index', references: references.length, seconds: secondsSince(started) });
  }
  let started = performance.now();
  for await (const { referenceIds } of writeColdMemories(parts, signal === undefined ? {} : { signal })) {
    onCommit({ kind: 'write', references: referenceIds.length, seconds: secondsSince(started) });
    started = performance.now();
  }
  bank.prepareSearch();
}

function secondsSince(started: number): number {
  return (performance.now() - started) / 1000;
}
