/** The real command line prepares a corpus, and refuses flags that would change nothing. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { seededRandom } from '../generate/sampling.ts';
import { corrupt } from '../train/data/corruption.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));
const library = fileURLToPath(new URL('../../assets/library', import.meta.url));

function memory3(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'train', ...args], { encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

test('train prepare leaves out what is unlike good texts, if it is given some', () => {
  using folder = temporaryFolder();
  const paragraphs = readFileSync(join(library, 'allan-dwan.txt'), 'utf8')
    .split(/\n\s*\n/)
    .filter((text) => text.split(/\s+/).length > 70);
  const spoilt = paragraphs.slice(0, 2).map((text) => corrupt(text, 'symbols', seededRandom(2)));
  const rows = [...paragraphs.slice(2), ...spoilt].map((text) => JSON.stringify({ text }));
  const data = folder.write('data.jsonl', rows.join('\n'));
  const common = ['--knowledge-share', '0', '--vocabulary', '300', '--length', '64', '--validation', '0'];
  const prepareOf = (texts: string, name: string, ...flags: string[]) =>
    memory3('prepare', ...common, '--data', texts, '--out', join(folder.path, name), ...flags);
  const prepare = (name: string, ...flags: string[]) => prepareOf(data, name, ...flags);
  const good = ['--good', join(library, 'amazon-rainforest.md'), join(library, 'international-atomic-time.txt')];

  const plain = prepare('plain');
  assert.equal(plain.code, 0, plain.err);
  assert.match(plain.out, /left out +0 documents by rules, 0 duplicates\n/);
  // The corpus that is written is none of the texts, also where it lies among them.
  assert.deepEqual(prepareOf(folder.path, 'plain'), plain);
  const filtered = prepare('filtered', ...good, '--least-quality', '0.2', '--json');
  assert.equal(filtered.code, 0, filtered.err);
  const { report } = JSON.parse(filtered.out);
  assert.deepEqual([report.removed.lowQuality, report.documents], [2, paragraphs.length]);
  const strict = prepare('strict', ...good, '--least-quality', '1');
  assert.equal(strict.code, 2);
  assert.match(strict.err, /Nothing to train on is left/);
});

test('flags that would change nothing are refused', () => {
  const cases: [string[], RegExp][] = [
    [['prepare', '--data', 'x', '--out', 'x', '--least-quality', '0.3'], /--least-quality: .*\n.*--good/],
    [
      ['prepare', '--data', 'x', '--out', 'x', '--tokenizer', 'x', '--vocabulary', '999'],
      /--vocabulary: .*\n.*--tokenizer/,
    ],
    [['sft', '--data', 'x', '--run', 'x', '--no-memory', '--memories', '3'], /--memories: with --no-memory/],
    [['dpo', '--data', 'x', '--run', 'x', '--all-weights', '--lora-rank', '8'], /--lora-rank: with --all-weights/],
    [['sft', '--data', 'x', '--run', 'x', '--steps', '5', '--epochs', '2'], /--epochs: with --steps/],
    [
      ['warmup', '--corpus', 'x', '--run', 'x', '--layers', 'middle', '--kept', '16'],
      /--layers, --kept: .*\n.*--memory/,
    ],
    [['continual', '--from', 'x', '--run', 'x', '--no-memory', '--kept', '16'], /'--no-memory' cannot be used with/],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = memory3(...args);
    assert.match(err, message);
    assert.deepEqual([code, out], [2, '']);
  }
});
