import assert from 'node:assert/strict';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { findPip } from './pip.ts';

test('a pip that cannot be run is passed over for the next', { skip: process.platform === 'win32' }, async () => {
  using folder = temporaryFolder();
  const env = { PATH: folder.path };
  mkdirSync(join(folder.path, 'pip'));
  chmodSync(folder.write('pip3', 'no program'), 0o644);
  assert.equal(await findPip(env), null);
  chmodSync(folder.write('python3', '#!/bin/sh\necho "pip 24.0 from /somewhere"'), 0o755);
  assert.deepEqual(await findPip(env), { command: ['python3', '-m', 'pip'], version: '24.0' });
  await assert.rejects(findPip(env, AbortSignal.abort(new Error('enough'))), /enough/);
});
