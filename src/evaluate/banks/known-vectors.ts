/**
 * A reference's vector depends on its text and the embedder, not on the model that writes the memories. So whoever builds the
 * same bank for a second model need not embed its texts again.
 */
import { existsSync } from 'node:fs';
import { openBank } from '../../bank/sqlite.ts';
import type { Embedder } from '../../retrieval/embedder.ts';

/**
 * The embedder, which takes vectors of passages from another bank where that has them: a bank that is not there, or of
 * another embedder, has none. About 2 KB a reference stay in memory.
 * @param embedder stays the caller's
 * @throws Memory3Error "damaged" as the bank does
 */
export function withKnownVectors(embedder: Embedder, bankPath: string): Embedder {
  const known = vectorsOf(bankPath, embedder.fingerprint);
  return {
    name: embedder.name,
    fingerprint: embedder.fingerprint,
    dimensions: embedder.dimensions,
    async embedPassages(texts) {
      const unknown = [...new Set(texts)].filter((text) => !known.has(text));
      const embedded = unknown.length === 0 ? [] : await embedder.embedPassages(unknown);
      const found = new Map(unknown.map((text, index) => [text, embedded[index]]));
      return texts.map((text) => (known.get(text) ?? found.get(text)) as Float32Array);
    },
    embedQueries: (texts) => embedder.embedQueries(texts),
    [Symbol.asyncDispose]: async () => {},
  };
}

function vectorsOf(path: string, fingerprint: string): Map<string, Float32Array> {
  const vectors = new Map<string, Float32Array>();
  if (!existsSync(path)) return vectors;
  using bank = openBank(path, { mode: 'read' });
  if (bank.stats().identity.embedder.fingerprint !== fingerprint) return vectors;
  for (const document of bank.documents()) {
    if (document.pending) continue;
    for (const { id, text } of bank.references(document.id)) vectors.set(text, bank.vector(id));
  }
  return vectors;
}
