/** Small documents with vectors and memories that follow from their text alone, for the bank's tests. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { BankIdentity, MemoryBank, NewDocument, NewReference } from '../../src/bank/bank.ts';
import { openBank } from '../../src/bank/sqlite.ts';
import { Memory3Error } from '../../src/errors.ts';
import { encodeMemory } from '../../src/memory/format.ts';

export const dimensions = 48;

export const identity: BankIdentity = {
  model: { name: 'model-a', fingerprint: 'a'.repeat(64) },
  profile: { name: 'profile-a', fingerprint: 'b'.repeat(64) },
  embedder: { name: 'embedder-a', fingerprint: 'c'.repeat(64), dimensions },
};

/** Endless bytes that follow from a seed. */
export function bytesFrom(seed: string, length: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(length / 64) }, (_, block) =>
    createHash('sha512').update(`${seed} ${block}`).digest(),
  );
  return Uint8Array.from(Buffer.concat(blocks).subarray(0, length));
}

/** A unit vector of the text: texts that share words are near to each other. */
export function vectorOf(text: string): Float32Array {
  const sum = new Float32Array(dimensions);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [text]) {
    for (const [index, byte] of bytesFrom(word, dimensions).entries()) sum[index] = (sum[index] ?? 0) + byte - 127.5;
  }
  const norm = Math.sqrt(sum.reduce((total, value) => total + value * value, 0));
  return sum.map((value) => value / norm);
}

/** One key and one value. @param length bytes: 20 and a multiple of 4 */
export function memoryOf(text: string, length = 3000): Uint8Array {
  const headDim = (length - 20) / 4;
  const keysValues = Float32Array.from(bytesFrom(`memory of ${text}`, 2 * headDim));
  return encodeMemory({ layers: 1, kvHeads: 1, kept: 1, headDim, positions: Uint8Array.of(0), keysValues }, 'f16');
}

/** One reference for each sentence. */
export function documentOf(name: string, text: string): NewDocument {
  const references: NewReference[] = Array.from(text.matchAll(/[^.。]+[.。]?/gu), ({ 0: piece, index }) => ({
    text: piece,
    start: index,
    end: index + piece.length,
    tokens: Array.from(piece, (character) => character.codePointAt(0) ?? 0),
    vector: vectorOf(piece),
  }));
  return { name, title: `About ${name}`, mediaType: 'text/plain', text, references };
}

export const texts: Readonly<Record<string, string>> = {
  'tower.txt':
    'The tower was built for the exposition of 1889. It is made of wrought iron. Painters climb it every seven years.',
  'river.txt':
    'The river rises in the hills near the border. In spring its water floods the meadows. Otters have come back.',
  'bread.txt':
    'Bread needs flour, water, salt and time. The dough of rye is sour. A hot oven gives the crust its colour.',
  'beijing.txt': '北京是中国的首都。长城在北京的北面。故宫曾经是皇帝的住所。',
  'naïve.txt': 'A naïve café owner called his dog Zoë. The dog did not care about diaereses.',
};

/** Makes a bank that holds the texts, with a memory for every reference but the first. */
export function fillBank(bankPath: string): void {
  using bank = openBank(bankPath, { mode: 'write', identity });
  for (const [name, text] of Object.entries(texts)) bank.putDocument(documentOf(name, text));
  const [, ...others] = bank.coldReferences();
  bank.putMemories(others.map((referenceId) => ({ referenceId, bytes: memoryOf(bank.reference(referenceId).text) })));
}

/** What `verify` finds, a line each. */
export function problemsOf(bank: MemoryBank): string[] {
  return [...bank.verify()].map(({ where, what }) => `${where}: ${what}`);
}

/** For `assert.throws`: a Memory3Error of this code and message. */
export function fails(code: string, pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Memory3Error, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  };
}
