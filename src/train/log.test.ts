import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { courseOf, type DivergedEvent, openRunLog, readRunLog, type StepEvent, type ValidationEvent } from './log.ts';

function step(number: number, loss = 1): StepEvent {
  return { kind: 'step', step: number, loss, rate: 0.1, tokens: 5, tokensPerSecond: 9, gradientNorm: 2, seconds: 3 };
}

const validation: ValidationEvent = { kind: 'validation', step: 2, losses: { text: 1 }, tokens: 5, seconds: 3 };
const diverged: DivergedEvent = {
  kind: 'diverged',
  step: 3,
  reason: 'the loss is NaN',
  backTo: 1,
  rateFactor: 0.5,
  returns: 1,
  damaged: [],
};

test('what is cut from a log stands in the file of discarded lines, a torn line too', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log.jsonl');
  const discarded = join(folder.path, 'log-discarded.jsonl');
  let length = 0;
  {
    using log = openRunLog(path, discarded);
    log.append(step(1));
    length = log.bytes;
    log.append(step(2));
  }
  appendFileSync(path, '{"kind":"st');
  assert.deepEqual(readRunLog(path), [step(1), step(2)]);
  {
    using log = openRunLog(path, discarded);
    assert.equal(log.cut(length), 2);
    assert.equal(log.cut(length), 0);
    log.append(step(2, 7));
  }
  assert.deepEqual(readRunLog(path), [step(1), step(2, 7)]);
  assert.equal(readFileSync(discarded, 'utf8'), `${JSON.stringify(step(2))}\n{"kind":"st\n`);
});

test('a log that was cut off within a line goes on behind the last whole one', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log.jsonl');
  const discarded = join(folder.path, 'log-discarded.jsonl');
  let length = 0;
  {
    using log = openRunLog(path, discarded);
    for (const number of [1, 2]) log.append(step(number));
    length = log.bytes;
  }
  truncateSync(path, length - 4);
  {
    using log = openRunLog(path, discarded);
    assert.equal(log.cut(length), 1);
    assert.equal(log.cut(length), 0);
    log.append(step(2, 7));
  }
  assert.deepEqual(readRunLog(path), [step(1), step(2, 7)]);
  assert.equal(readFileSync(discarded, 'utf8'), `${JSON.stringify(step(2)).slice(0, -3)}\n`);
});

test('lines that are no events are named, or told once and passed over', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log.jsonl');
  writeFileSync(path, `${JSON.stringify(step(1))}\n{"kind":"step"}\n`);
  assert.throws(() => readRunLog(path), {
    code: 'damaged',
    message: /^Line 2 of .* is no event.*\n.*copy, or remove the line/,
  });
  const notices: string[] = [];
  const read = () => readRunLog(path, (notice) => notices.push(notice));
  assert.deepEqual(read(), [step(1)]);
  writeFileSync(path, `\0\0\0\n${JSON.stringify(step(1))}\n{"kind":"step"}\n${JSON.stringify(step(2))}\n`);
  assert.deepEqual(read(), [step(1), step(2)]);
  assert.equal(notices.length, 2);
  assert.match(notices[0] ?? '', /^Line 2 of .* is no event of a run: [^\n]*\. What was logged there is left out\.$/);
  assert.match(notices[1] ?? '', /^Line 1 of .* is not JSON\. 1 more cannot be read either\. What/);
  writeFileSync(path, 'nonsense\n');
  assert.throws(() => readRunLog(path), { code: 'damaged', message: /^Line 1 of .* is not JSON/ });
  assert.throws(() => readRunLog(join(folder.path, 'other')), { code: 'not-found' });
});

test('the course leaves out what a divergence took back', () => {
  const events = [step(1), step(2), validation, step(3), diverged, step(2, 8), validation];
  assert.deepEqual(courseOf(events), { steps: [step(1), step(2, 8)], validations: [validation] });
});
