import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

/** A program that is interrupted and then fails. */
function interrupted(failure: string) {
  const program = `
    import { Memory3Error } from '${new URL('../errors.ts', import.meta.url)}';
    import { runProgram } from '${new URL('./run.ts', import.meta.url)}';
    const interrupt = { happened: true, signal: () => AbortSignal.abort(), stop: () => false };
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

/** A program that prints lines until it is told to end, and then, if it is told so, goes on for ever. */
function printing({ heedless }: { readonly heedless: boolean }) {
  const program = `
    import { setTimeout } from 'node:timers/promises';
    import { createInterrupt } from '${new URL('./interrupt.ts', import.meta.url)}';
    import { runProgram } from '${new URL('./run.ts', import.meta.url)}';
    const interrupt = createInterrupt();
    await runProgram(interrupt, async () => {
      const signal = interrupt.signal();
      while (${heedless} || !signal.aborted) {
        console.log('a line');
        await setTimeout(1);
      }
      console.error('closed');
      signal.throwIfAborted();
    });`;
  return spawn(process.execPath, ['--input-type=module-typescript', '-e', program]);
}

test('a program whose reader goes away closes what is open and ends quietly', async () => {
  const child = printing({ heedless: false });
  const said: string[] = [];
  child.stderr.on('data', (data) => said.push(String(data)));
  await once(child.stdout, 'data');
  child.stdout.destroy();
  const [code, signal] = await once(child, 'close');
  assert.deepEqual([code, signal, said.join('')], [0, null, 'closed\n']);
});

test('a first Ctrl+C is left to the command, a second one ends it whatever it does', async () => {
  const child = printing({ heedless: true });
  await once(child.stdout, 'data');
  child.kill('SIGINT');
  await once(child.stdout, 'data');
  assert.equal(child.exitCode, null);
  const closed = once(child, 'close');
  // One that comes while the first is not yet heard counts as the same.
  const again = setInterval(() => child.kill('SIGINT'), 20);
  const [code, signal] = await closed;
  clearInterval(again);
  assert.deepEqual([code, signal], [null, 'SIGINT']);
});
