import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

/** A program that is interrupted and then fails. */
function interrupted(failure: string) {
  const program = `
    import { Memory3Error } from '${new URL('../errors.ts', import.meta.url)}';
    import { runProgram } from '${new URL('./run.ts', import.meta.url)}';
    const interrupt = { happened: true, signal: () => AbortSignal.abort() };
    await runProgram(interrupt, async () => { throw ${failure}; });`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', program], {
    encoding: 'utf8',
  });
  return { code: status, err: stderr };
}

test('an interrupted command says nothing, unless its state could not be kept', () => {
  assert.deepEqual(interrupted(`new DOMException('Interrupted.', 'AbortError')`), { code: 130, err: '' });
  assert.deepEqual(interrupted(`new Memory3Error('disk', 'The run cannot be kept.')`), {
    code: 10,
    err: 'error: The run cannot be kept.\n',
  });
});
