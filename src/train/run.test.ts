import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { comparableLog, smallNetwork } from '../../test/support/small-network.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { brokenTensor } from './checkpoint.ts';
import { courseOf, type LoggedEvent, type RunEvent, readRunLog, type ValidationEvent } from './log.ts';
import { type RunOptions, type RunResult, runTraining } from './run.ts';
import { readRunCheckpoint, readRunConfig } from './run-folder.ts';
import type { Trainable } from './trainable.ts';

const settings = {
  config: { network: { hidden: 24 }, threads: 2 },
  mayChange: ['threads'],
  steps: 120,
  schedule: { kind: 'warmup-stable-decay', rate: 0.02, warmup: 5 },
  checkpointEvery: 10,
  validateEvery: 25,
  keepBest: 'held',
} as const satisfies Omit<RunOptions, 'folder'>;

/** Runs a new network; `stopAt` interrupts after that step. */
async function run(
  folder: string,
  options: Partial<RunOptions> & { readonly stopAt?: number } = {},
): Promise<RunResult> {
  const { stopAt, ...rest } = options;
  const interrupt = new AbortController();
  const onEvent = (event: RunEvent) => {
    rest.onEvent?.(event);
    if (event.kind === 'step' && event.step === stopAt) interrupt.abort();
  };
  return await runTraining(smallNetwork(), { ...settings, ...rest, folder, signal: interrupt.signal, onEvent });
}

function checkpointsIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.includes('checkpoint'));
}

function eventsOf<Kind extends LoggedEvent['kind']>(
  folder: string,
  kind: Kind,
): Extract<LoggedEvent, { kind: Kind }>[] {
  const is = (event: LoggedEvent): event is Extract<LoggedEvent, { kind: Kind }> => event.kind === kind;
  return readRunLog(join(folder, 'log.jsonl')).filter(is);
}

/** The same log but for times, and the same state at the end, bit for bit. */
function assertSame(folder: string, expected: string): void {
  assert.deepEqual(comparableLog(folder), comparableLog(expected));
  assert.deepEqual(readRunCheckpoint(folder).state, readRunCheckpoint(expected).state);
}

test('a run learns, logs every step, keeps the last checkpoints and the best', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'deep', 'run');
  const told: RunEvent[] = [];
  const result = await run(path, { onEvent: (event) => told.push(event) });
  const events = readRunLog(join(path, 'log.jsonl'));
  const { steps, validations } = courseOf(events);
  assert.deepEqual(
    steps.map(({ step }) => step),
    Array.from({ length: 120 }, (_, index) => index + 1),
  );
  assert.deepEqual([steps[0]?.rate, steps[4]?.rate, steps[119]?.rate], [0.004, 0.02, 0.02 * (1 - 12 / 13)]);
  assert.deepEqual(
    validations.map(({ step }) => step),
    [0, 25, 50, 75, 100, 120],
  );
  const held = validations.map(({ losses }) => losses.held as number);
  assert.ok((held[0] as number) > 0.5 && (held.at(-1) as number) < 0.1, `held-out losses ${held}`);
  assert.deepEqual(checkpointsIn(path), ['checkpoint-110.safetensors', 'checkpoint-120.safetensors']);
  const best = validations.find(({ losses }) => losses.held === Math.min(...held));
  assert.deepEqual(result.best, { step: best?.step, loss: best?.losses.held });
  const kept = smallNetwork();
  await kept.restore(readRunCheckpoint(path, 'best').state);
  assert.equal((await kept.validate()).held, result.best?.loss);
  assert.deepEqual(
    told.filter(({ kind }) => kind !== 'checkpoint'),
    events,
  );
  assert.equal(result.finished, true);
  assert.equal(result.tokens, 120 * 16);
  assert.equal(readRunConfig(path).settings.schedule.rate, 0.02);
});

test('an interrupted run saves, goes on, and ends as one that was not', async () => {
  using folder = temporaryFolder();
  const [whole, parts] = [join(folder.path, 'whole'), join(folder.path, 'parts')];
  await run(whole);
  // In between, where a checkpoint and where a validation would have come, and at the last step.
  for (const stopAt of [3, 30, 50, 51, 120]) {
    const result = await run(parts, { stopAt });
    assert.deepEqual([result.step, result.finished], [stopAt, false]);
    assert.equal(readRunCheckpoint(parts).progress.step, stopAt);
  }
  assert.equal((await run(parts)).finished, true);
  assertSame(parts, whole);
  assert.deepEqual(
    eventsOf(parts, 'resumed').map(({ step, discardedLines }) => [step, discardedLines]),
    [3, 30, 50, 51, 120].map((step) => [step, 0]),
  );
});

test('an interrupted validation keeps the steps before it, and the next process validates', async () => {
  using folder = temporaryFolder();
  const [whole, parts] = [join(folder.path, 'whole'), join(folder.path, 'parts')];
  await run(whole);
  // Before the first step, in between, where a checkpoint comes too, and at the end.
  for (const stopAt of [0, 25, 50, 120]) {
    const interrupt = new AbortController();
    const network = smallNetwork();
    const interrupted: Trainable = {
      ...network,
      async validate(signal) {
        if ((await network.state()).values.steps === stopAt) interrupt.abort();
        signal?.throwIfAborted();
        return await network.validate();
      },
    };
    const result = await runTraining(interrupted, { ...settings, folder: parts, signal: interrupt.signal });
    assert.deepEqual([result.step, result.finished], [stopAt, false]);
    assert.equal(readRunCheckpoint(parts).progress.step, stopAt);
    assert.notEqual(eventsOf(parts, 'validation').at(-1)?.step, stopAt);
  }
  assert.equal((await run(parts)).finished, true);
  assertSame(parts, whole);
  // Whatever else ends a validation is told, interrupted or not.
  const interrupt = new AbortController();
  const failing: Trainable = {
    ...smallNetwork(),
    async validate() {
      interrupt.abort();
      throw new Error('out of memory');
    },
  };
  const other = runTraining(failing, { ...settings, folder: join(folder.path, 'other'), signal: interrupt.signal });
  await assert.rejects(other, { message: 'out of memory' });
});

test('a finished run is only put back', async () => {
  using folder = temporaryFolder();
  await run(folder.path);
  const log = readFileSync(join(folder.path, 'log.jsonl'), 'utf8');
  const network = smallNetwork();
  const result = await runTraining(network, { ...settings, folder: folder.path });
  assert.deepEqual([result.step, result.finished], [120, true]);
  assert.equal(readFileSync(join(folder.path, 'log.jsonl'), 'utf8'), log);
  assert.deepEqual((await network.state()).values, { steps: 120 });
});

test('an absurd rate: back to the last good checkpoint with a smaller one, which a resumed run keeps', async () => {
  using folder = temporaryFolder();
  const [whole, parts] = [join(folder.path, 'whole'), join(folder.path, 'parts')];
  const absurd = { schedule: { kind: 'constant', rate: 30, warmup: 60 } } as const satisfies Partial<RunOptions>;
  const result = await run(whole, absurd);
  const diverged = eventsOf(whole, 'diverged');
  assert.ok(diverged.length >= 2, 'a rate of 30 did too little harm');
  assert.match(diverged[0]?.reason ?? '', /^the loss is .* where its median was .*, for 3 steps$/);
  assert.deepEqual(
    diverged.map(({ rateFactor }) => rateFactor),
    [0.5, 0.25, 0.125].slice(0, diverged.length),
  );
  assert.equal(result.rateFactor, diverged.at(-1)?.rateFactor);
  const { steps, validations } = courseOf(readRunLog(join(whole, 'log.jsonl')));
  assert.equal(steps.length, 120);
  assert.equal(steps.at(-1)?.rate, 30 * result.rateFactor);
  assert.ok((validations.at(-1)?.losses.training as number) < 0.2);
  // Interrupted before it diverges, and in between: it goes back to the same checkpoints all the same. Also where a
  // checkpoint would have come had the loss not been exploding.
  assert.ok(diverged.some(({ step }) => step === 71));
  for (const stopAt of [2, 43, 45, 62, 70, 75]) await run(parts, { ...absurd, stopAt });
  await run(parts, absurd);
  assertSame(parts, whole);
});

test('what is not finite reaches no checkpoint; the run gives up after so many returns', async () => {
  using folder = temporaryFolder();
  const options = { schedule: { kind: 'constant', rate: 1e300 }, divergence: { returns: 2 } } as const;
  const diverges = { code: 'diverged', message: /diverged at step 2: the loss is NaN. It went back 2 times/ };
  await assert.rejects(run(folder.path, { ...options, checkpointEvery: 5 }), diverges);
  assert.deepEqual(checkpointsIn(folder.path), ['checkpoint-0.safetensors']);
  assert.equal(readRunCheckpoint(folder.path).progress.rateFactor, 0.25);
  await assert.rejects(run(folder.path, { ...options, checkpointEvery: 5 }), diverges);
  // With a checkpoint after each step it is noticed there, before any loss shows it.
  const other = join(folder.path, 'other');
  await assert.rejects(run(other, { ...options, checkpointEvery: 1, validateEvery: null, keepBest: null }), {
    code: 'diverged',
    message: /diverged at step 1: "w1" has values that are not finite/,
  });
  assert.deepEqual(checkpointsIn(other), ['checkpoint-0.safetensors']);
});

/** A network whose weights are ruined by certain steps, whatever the rate. */
function poisonedNetwork(isPoisoned: (step: number) => boolean): Trainable {
  const network = smallNetwork();
  return {
    ...network,
    async step(rate) {
      const done = (await network.state()).values.steps as number;
      return await network.step(isPoisoned(done + 1) ? 1e300 : rate);
    },
  };
}

test('a second divergence from the same checkpoint goes back to the one before', async () => {
  using folder = temporaryFolder();
  const onEvent = (event: RunEvent) => {
    if (event.kind !== 'checkpoint') return;
    assert.equal(readRunCheckpoint(folder.path).progress.step, event.step, 'a checkpoint that was given up is left');
  };
  const network = poisonedNetwork((step) => step > 25);
  const ends = runTraining(network, { ...settings, keepBest: null, folder: folder.path, onEvent });
  await assert.rejects(ends, { code: 'diverged' });
  assert.deepEqual(
    eventsOf(folder.path, 'diverged').map(({ backTo, rateFactor }) => [backTo, rateFactor]),
    [
      [20, 0.5],
      [10, 0.25],
      [20, 0.125],
      [10, 0.0625],
      [20, 0.03125],
    ],
  );
});

test('a checkpoint of an interruption at a loss that is too high displaces no good one', async () => {
  using folder = temporaryFolder();
  const network = smallNetwork();
  const interrupt = new AbortController();
  const spiked: Trainable = {
    ...network,
    async step(rate) {
      const result = await network.step(rate);
      const isSpike = (await network.state()).values.steps === 30;
      if (isSpike) interrupt.abort();
      return isSpike ? { ...result, loss: 100 } : result;
    },
  };
  const options = { ...settings, steps: 40, validateEvery: null, keepBest: null, folder: folder.path };
  await runTraining(spiked, { ...options, signal: interrupt.signal });
  const names = (steps: number[]) => steps.map((step) => `checkpoint-${step}.safetensors`);
  assert.deepEqual(checkpointsIn(folder.path), names([10, 20, 30]));
  await runTraining(spiked, options);
  assert.deepEqual(checkpointsIn(folder.path), names([20, 40]));
});

test('a last step that ruins the weights is done again before the run ends', async () => {
  using folder = temporaryFolder();
  let times = 0;
  const network = poisonedNetwork((step) => step === 119 && ++times === 1);
  const options = { ...settings, steps: 119, validateEvery: null, keepBest: null, folder: folder.path };
  assert.equal((await runTraining(network, options)).finished, true);
  assert.deepEqual(
    eventsOf(folder.path, 'diverged').map(({ step, backTo }) => [step, backTo]),
    [[119, 110]],
  );
  assert.equal(brokenTensor(readRunCheckpoint(folder.path).state.tensors), null);
});

test('a damaged checkpoint is passed over for the one before, told and kept', async () => {
  using folder = temporaryFolder();
  const [whole, other] = [join(folder.path, 'whole'), join(folder.path, 'other')];
  await run(whole);
  await run(other, { stopAt: 55 });
  truncateSync(join(other, 'checkpoint-55.safetensors'), 400);
  const fifty = readFileSync(join(other, 'checkpoint-50.safetensors'));
  fifty[fifty.length - 3] = (fifty[fifty.length - 3] as number) ^ 4;
  writeFileSync(join(other, 'checkpoint-50.safetensors'), fifty);
  await run(other);
  assertSame(other, whole);
  const [resumed] = eventsOf(other, 'resumed');
  assert.equal(resumed?.step, 40);
  assert.equal(resumed.discardedLines, 16); // Steps 41 to 55 and a validation.
  assert.match(resumed.damaged.join('\n'), /checkpoint-55.* is damaged[\s\S]*checkpoint-50.* is damaged.*checksum/);
  assert.ok(existsSync(join(other, 'checkpoint-50.safetensors.damaged')));
  assert.equal(readFileSync(join(other, 'log-discarded.jsonl'), 'utf8').split('\n').length - 1, 16);
  for (const name of checkpointsIn(other)) truncateSync(join(other, name), 100);
  await assert.rejects(run(other), { code: 'damaged', message: /No checkpoint of the run .* is whole/ });
});

test('another configuration is refused by name; what may change is logged', async () => {
  using folder = temporaryFolder();
  await run(folder.path, { stopAt: 10 });
  const refused: [Partial<RunOptions>, RegExp][] = [
    [{ config: { network: { hidden: 25 }, threads: 2 } }, /: network\.hidden was 24, is 25\./],
    [{ config: { network: { hidden: 24 }, threads: 2, seed: 1 } }, /: seed was null, is 1\./],
    [{ schedule: { ...settings.schedule, rate: 0.01 } }, /: schedule\.rate was 0\.02, is 0\.01\./],
    [{ schedule: { kind: 'cosine', rate: 0.02 } }, /: schedule\.kind was "warmup-stable-decay", is "cosine"; /],
  ];
  for (const [options, message] of refused)
    await assert.rejects(run(folder.path, options), { code: 'mismatch', message });
  const config = { network: { hidden: 24 }, threads: 1 };
  await run(folder.path, { config, steps: 130 });
  assert.deepEqual(eventsOf(folder.path, 'resumed')[0]?.changed, [
    { field: 'steps', from: 120, to: 130 },
    { field: 'threads', from: 2, to: 1 },
  ]);
  assert.deepEqual(readRunConfig(folder.path).config, config);
  assert.equal(eventsOf(folder.path, 'step').length, 130);
});

test('the best by one loss is not compared with another loss', async () => {
  using folder = temporaryFolder();
  const first = await run(folder.path, { keepBest: 'training', stopAt: 110 });
  const { best } = await run(folder.path, { keepBest: 'held' });
  const { losses } = eventsOf(folder.path, 'validation').at(-1) as ValidationEvent;
  assert.ok((first.best?.loss as number) < (losses.held as number), 'it would have stayed the best');
  assert.deepEqual(best, { step: 120, loss: losses.held });
});

test('one process a run', async () => {
  using folder = temporaryFolder();
  const second: Promise<void>[] = [];
  await run(folder.path, {
    onEvent({ kind }) {
      if (kind !== 'validation') return;
      const message = new RegExp(`another process \\(process ${process.pid}\\)`);
      second.push(assert.rejects(run(folder.path), { code: 'locked', message }));
    },
  });
  assert.equal(second.length, 6);
  await Promise.all(second);
});

test('a folder that is no run, or has lost something, is not trained in', async () => {
  using folder = temporaryFolder();
  await run(folder.path, { stopAt: 12 });
  const config = readFileSync(join(folder.path, 'config.json'), 'utf8');
  rmSync(join(folder.path, 'config.json'));
  rmSync(join(folder.path, 'run.lock'));
  folder.write('checkpoint-20.safetensors.77.unfinished', 'of another program');
  await assert.rejects(run(folder.path), { code: 'mismatch', message: /holds no run/ });
  assert.ok(existsSync(join(folder.path, 'checkpoint-20.safetensors.77.unfinished')));
  assert.ok(!existsSync(join(folder.path, 'run.lock')));
  writeFileSync(join(folder.path, 'config.json'), '{"model_type":"llama"}');
  await assert.rejects(run(folder.path), { code: 'mismatch', message: /config\.json is no run's: .*format/ });
  writeFileSync(join(folder.path, 'config.json'), config);
  for (const name of checkpointsIn(folder.path)) rmSync(join(folder.path, name));
  await assert.rejects(run(folder.path), { code: 'damaged', message: /has a log but no checkpoint/ });
  await assert.rejects(run(join(folder.path, 'x'), { keepBest: 'nothing' }), {
    code: 'usage',
    message: /no validation loss "nothing"; there are: held, training/,
  });
  await assert.rejects(run(join(folder.path, 'y'), { steps: 0 }), { code: 'usage', message: /steps/ });
  await assert.rejects(run(join(folder.path, 'y'), { config: { rate: Number.NaN } }), {
    code: 'usage',
    message: /rate/,
  });
});

test('a log that has lost lines is told, and the run goes on', async () => {
  using folder = temporaryFolder();
  await run(folder.path, { stopAt: 12 });
  rmSync(join(folder.path, 'log.jsonl'));
  assert.equal((await run(folder.path)).finished, true);
  assert.deepEqual(eventsOf(folder.path, 'resumed')[0]?.damaged, [
    'The log is shorter than it was: lines are missing.',
  ]);
});

test('what a killed process left unfinished is cleaned up', async () => {
  using folder = temporaryFolder();
  await run(folder.path, { stopAt: 12 });
  const left = ['config.json.unfinished', 'checkpoint-20.safetensors.77.unfinished', 'best.safetensors.77.unfinished'];
  for (const name of left) folder.write(name, 'half');
  // By name those of somebody else.
  const others = ['thesis.unfinished', 'films.unfinished/one.txt', 'model.old.unfinished/model.safetensors'];
  for (const name of others) folder.write(name, 'not of the run');
  folder.write('model.77.unfinished/model.safetensors', 'half of a model');
  appendFileSync(join(folder.path, 'log.jsonl'), '{"kind":"step","step":13,');
  await run(folder.path);
  assert.deepEqual(checkpointsIn(folder.path), ['checkpoint-110.safetensors', 'checkpoint-120.safetensors']);
  for (const name of [...left, 'model.77.unfinished']) assert.ok(!existsSync(join(folder.path, name)), name);
  for (const name of others) assert.equal(readFileSync(join(folder.path, name), 'utf8'), 'not of the run');
  assert.equal(eventsOf(folder.path, 'resumed')[0]?.discardedLines, 1);
});
