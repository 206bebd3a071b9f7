/**
 * What the bank alone costs at a given size: storing, searching, loading. No model, no embedder: random words with the
 * frequencies of a language (Zipf), vectors in clusters. The figures of docs/durability.md come from here.
 *
 *   node scripts/bank-speed.ts [references]
 *
 * At least 500 references, 100 000 without a number; they are stored 50 at a time.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import type { BankIdentity, NewReference } from '../src/bank/bank.ts';
import { openBank } from '../src/bank/sqlite.ts';
import { createInterrupt } from '../src/cli/interrupt.ts';
import { numeral } from '../src/cli/options.ts';
import { runProgram } from '../src/cli/run.ts';
import { checkOptions } from '../src/errors.ts';
import { median } from '../src/quantile.ts';
import { memoryOf } from '../test/crash/library.ts';

/** Memories that are stored and loaded. */
const memories = 500;
const argumentsSchema = z.strictObject({ references: numeral.pipe(z.int().min(memories)) });
const dimensions = 384;
const perDocument = 50;
const vocabulary = 50_000;
const clusters = 500;
const queryWords = 45;
const rounds = 100;

const part = (name: string) => ({ name, fingerprint: '0'.repeat(64) });
const identity: BankIdentity = {
  model: part('model'),
  profile: part('profile'),
  embedder: { ...part('embedder'), dimensions },
};

let state = 1;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

/** A word of rank r with a probability of about 1/r. */
const word = () => `w${Math.floor(vocabulary ** random())}`;
const sentence = (words: number) => Array.from({ length: words }, word).join(' ');
const centres = Array.from({ length: clusters }, () => Float32Array.from({ length: dimensions }, () => random() - 0.5));

function vector(): Float32Array {
  const centre = centres[Math.floor(random() * clusters)] ?? new Float32Array(dimensions);
  const raw = centre.map((value) => value + (random() - 0.5) * 1.2);
  const norm = Math.sqrt(raw.reduce((sum, value) => sum + value * value, 0));
  return raw.map((value) => value / norm);
}

function timed<T>(work: () => T): { readonly result: T; readonly ms: number } {
  const start = performance.now();
  const result = work();
  return { result, ms: performance.now() - start };
}

function percentile(values: readonly number[]): { readonly median: number; readonly worst: number } {
  return { median: median(values), worst: Math.max(...values) };
}

function measure(references: number): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'memory3-speed-'));
  using cleanUp = new DisposableStack();
  cleanUp.defer(() => rmSync(folder, { recursive: true }));
  const bankPath = path.join(folder, 'bank');
  let storing = 0;
  let memoryMs = 0;
  const bytes = memoryOf('any', 100_000);
  {
    using bank = openBank(bankPath, { mode: 'write', identity });
    for (let document = 0; document * perDocument < references; document++) {
      const pieces: NewReference[] = [];
      let text = '';
      for (let piece = 0; piece < perDocument; piece++) {
        const body = `${sentence(80)}. `;
        const start = text.length;
        text += body;
        const tokens = Array.from({ length: 120 }, () => Math.floor(random() * 49_000));
        pieces.push({ text: body, start, end: text.length, tokens, vector: vector() });
      }
      const name = `document ${document}`;
      storing += timed(() =>
        bank.putDocument({ name, title: null, mediaType: 'text/plain', text, references: pieces }),
      ).ms;
    }
    memoryMs = timed(() => {
      for (let id = 1; id <= memories; id++) bank.putMemories([{ referenceId: id, bytes }]);
    }).ms;
  }
  const building = timed(() => {
    using bank = openBank(bankPath, { mode: 'read', identity });
    bank.prepareSearch();
  }).ms;
  using bank = timed(() => openBank(bankPath, { mode: 'read', identity })).result;
  const query = () => ({ text: sentence(queryWords), vector: vector() });
  const first = query();
  const firstSearch = timed(() => bank.searchVectors(first.vector, 20)).ms;
  const firstWords = timed(() => bank.searchWords(first.text, 20)).ms;
  const byVector: number[] = [];
  const byWords: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const next = query();
    byVector.push(timed(() => bank.searchVectors(next.vector, 20)).ms);
    byWords.push(timed(() => bank.searchWords(next.text, 20)).ms);
  }
  const both = byVector.map((ms, round) => ms + (byWords[round] ?? 0));
  const loading = Array.from({ length: memories }, (_, id) => timed(() => bank.memory(id + 1)).ms);
  const { references: stored, fileBytes } = bank.stats();
  const verifying = timed(() => [...bank.verify()]);
  console.log(
    JSON.stringify(
      {
        references: stored,
        storeReferencesPerSecond: (stored / storing) * 1000,
        storeMemoriesPerSecond: (memories / memoryMs) * 1000,
        buildIndexMs: building,
        firstSearchMs: { vectors: firstSearch, words: firstWords },
        searchVectorsMs: percentile(byVector),
        searchWordsMs: percentile(byWords),
        bothMs: percentile(both),
        load100KbMs: percentile(loading),
        verifyMs: verifying.ms,
        problems: verifying.result,
        fileBytes,
      },
      null,
      2,
    ),
  );
}

await runProgram(createInterrupt(), async () => {
  const [references = '100000'] = process.argv.slice(2);
  measure(checkOptions(argumentsSchema, { references }).references);
});
