import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { wordEmbedder } from '../../../test/support/evaluation.ts';
import { temporaryFolder } from '../../../test/support/temporary.ts';
import { openBank } from '../../bank/sqlite.ts';
import type { Embedder } from '../../retrieval/embedder.ts';
import { withKnownVectors } from './known-vectors.ts';

const part = (name: string) => ({ name, fingerprint: '0'.repeat(64) });

/** Counts what is embedded. */
function counting(fingerprint = wordEmbedder.fingerprint): { embedder: Embedder; embedded: string[] } {
  const embedded: string[] = [];
  const embedPassages = (texts: readonly string[]) => {
    embedded.push(...texts);
    return wordEmbedder.embedPassages(texts);
  };
  return { embedder: { ...wordEmbedder, fingerprint, embedPassages }, embedded };
}

async function storedBank(path: string): Promise<string> {
  const { name, fingerprint, dimensions } = wordEmbedder;
  const identity = { model: part('model'), profile: part('profile'), embedder: { name, fingerprint, dimensions } };
  using bank = openBank(path, { mode: 'write', identity });
  const text = 'Bees dance. Ants march.';
  const vectors = await wordEmbedder.embedPassages(['Bees dance.', ' Ants march.']);
  const cut = (start: number, end: number, index: number) => {
    return { text: text.slice(start, end), start, end, tokens: [1], vector: vectors[index] as Float32Array };
  };
  const references = [cut(0, 11, 0), cut(11, text.length, 1)];
  bank.putDocument({ name: 'insects', title: null, mediaType: 'text/plain', text, references });
  return path;
}

describe('vectors that another bank has', () => {
  it('are not computed again, and stand among the others in order', async () => {
    using folder = temporaryFolder();
    const { embedder, embedded } = counting();
    const path = await storedBank(join(folder.path, 'first.memory3'));
    const texts = ['Wasps hum.', 'Bees dance.', 'Flies fly.', 'Wasps hum.', ' Ants march.'];
    const vectors = await withKnownVectors(embedder, path).embedPassages(texts);
    assert.deepEqual(embedded, ['Wasps hum.', 'Flies fly.']);
    assert.deepEqual(vectors, await wordEmbedder.embedPassages(texts));
    assert.notDeepEqual(vectors[0], vectors[1]);
  });

  it('are none of another embedder, nor of a bank that is not there', async () => {
    using folder = temporaryFolder();
    const path = await storedBank(join(folder.path, 'first.memory3'));
    const other = counting('another');
    await withKnownVectors(other.embedder, path).embedPassages(['Bees dance.']);
    assert.deepEqual(other.embedded, ['Bees dance.']);
    const { embedder, embedded } = counting();
    await withKnownVectors(embedder, join(folder.path, 'none.memory3')).embedPassages(['Bees dance.']);
    assert.deepEqual(embedded, ['Bees dance.']);
  });
});
