import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { smallNetwork } from '../../test/support/small-network.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { readRunLog } from '../train/log.ts';
import { runTraining } from '../train/run.ts';
import { openTerminal } from './terminal.ts';
import { lossCurve, showTraining } from './training-progress.ts';

/** A stream that keeps what is written to it. */
function recordingStream(isTTY: boolean): { readonly stream: NodeJS.WriteStream; text(): string } {
  let text = '';
  const write = (piece: string) => {
    text += piece;
    return true;
  };
  const stream = { isTTY, columns: 200, rows: 40, write } as unknown as NodeJS.WriteStream;
  return { stream, text: () => text };
}

/** A run that diverges, shown on streams. */
async function showRun(options: { readonly isTTY: boolean; readonly json: boolean }): Promise<{
  readonly out: string;
  readonly err: string;
  readonly log: unknown[];
}> {
  using folder = temporaryFolder();
  const [out, err] = [recordingStream(false), recordingStream(options.isTTY)];
  const terminal = openTerminal({ json: options.json }, { out: out.stream, err: err.stream });
  {
    using progress = await showTraining(terminal, { label: 'spirals', steps: 90, run: folder.path });
    await runTraining(smallNetwork(), {
      folder: folder.path,
      config: {},
      steps: 90,
      schedule: { kind: 'constant', rate: 30, warmup: 60 },
      checkpointEvery: 10,
      validateEvery: 30,
      onEvent: progress.onEvent,
    });
  }
  return { out: out.text(), err: err.text(), log: readRunLog(`${folder.path}/log.jsonl`) };
}

test('on a terminal: a curve, a line with where it is, and notices above them', async () => {
  const { out, err } = await showRun({ isTTY: true, json: false });
  assert.equal(out, '');
  const text = stripVTControlCharacters(err);
  assert.match(text, /^Training diverged at step \d+: .* It goes on from step \d+ with 0\.5 times the rate\.$/m);
  const end = text.slice(text.lastIndexOf('spirals'));
  assert.match(
    end.replaceAll('\n', ' '),
    /^spirals 90 \/ 90 {2}loss \d+\.\d{4}, validation held \S+ training \S+, rate/,
  );
  assert.match(text, /┤.*[╭╰╮╯─]/);
});

test('the curve of a run that is gone on with begins with what it has', async () => {
  using folder = temporaryFolder();
  const train = async (last: number): Promise<string> => {
    const err = recordingStream(true);
    const terminal = openTerminal({ json: false }, { out: recordingStream(false).stream, err: err.stream });
    using progress = await showTraining(terminal, { label: 'spirals', steps: 24, run: folder.path });
    const interrupt = new AbortController();
    await runTraining(smallNetwork(), {
      folder: folder.path,
      config: {},
      steps: 24,
      schedule: { kind: 'constant', rate: 0.01 },
      checkpointEvery: 10,
      validateEvery: null,
      signal: interrupt.signal,
      onEvent(event) {
        progress.onEvent(event);
        if (event.kind === 'step' && event.step === last) interrupt.abort();
      },
    });
    progress[Symbol.dispose]();
    return stripVTControlCharacters(err.text());
  };
  await train(20);
  // Steps whose lines are damaged are missing from it, and nothing else.
  const log = join(folder.path, 'log.jsonl');
  writeFileSync(log, readFileSync(log, 'utf8').replace('{', '#'));
  const text = await train(24);
  assert.match(text, /^Line 1 of .*log\.jsonl is not JSON\. What was logged there is left out\.$/m);
  const rows = text.split('\n');
  const width = Math.max(...rows.filter((row) => /[┤┼]/.test(row)).map((row) => row.length));
  assert.equal(width, 12 + 23);
});

test('elsewhere: plain lines, the last step among them', async () => {
  const { out, err } = await showRun({ isTTY: false, json: false });
  assert.equal(out, '');
  assert.equal(err, stripVTControlCharacters(err));
  assert.match(err, /^Training diverged at step/m);
  assert.match(err, /^spirals 90 \/ 90 loss .*, rate \d\.\d\de[+-]\d, [\d ]+ tokens\/s, 0 s left$/m);
});

test('with --json stdout has the log, and the checkpoints between its lines', async () => {
  const { out, log } = await showRun({ isTTY: false, json: true });
  const events = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly kind: string });
  assert.deepEqual(
    events.filter(({ kind }) => kind !== 'checkpoint'),
    log,
  );
  assert.ok(events.some(({ kind }) => kind === 'checkpoint'));
});

test('a curve has a column for each loss, or for the mean of neighbours', () => {
  const falling = Array.from({ length: 1000 }, (_, step) => 10 - step / 100);
  for (const columns of [1, 20, 50]) {
    const rows = lossCurve(falling, columns).split('\n');
    assert.ok(rows.length <= 10, `${rows.length} rows`);
    assert.ok(rows.every((row) => row.length <= columns + 12));
  }
  assert.match(lossCurve([2.25, 2.25, 2.25], 50), /2\.250 ┼──/);
  const [top, bottom] = [lossCurve([4, 1], 50).split('\n')[0], lossCurve([4, 1], 50).split('\n').at(-1)];
  assert.match(String(top), /4\.000/);
  assert.match(String(bottom), /1\.000/);
});
