/** The real command line: what the doctor fetches, it fetches as its flags say. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../test/support/temporary.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));
const model = fileURLToPath(new URL('../../test/golden/families/llama', import.meta.url));

test('doctor --offline asks nobody for an adapter', () => {
  using folder = temporaryFolder();
  const flags = ['--offline', '--model', model, '--adapter', 'hf:owner/repository/adapter', '--threads', '1'];
  const { status, stdout } = spawnSync(process.execPath, [launcher, 'doctor', ...flags], {
    // Nobody listens there.
    env: { ...process.env, MEMORY3_HOME: folder.path, MEMORY3_OFFLINE: '', HF_ENDPOINT: 'http://127.0.0.1:9' },
    encoding: 'utf8',
  });
  assert.equal(status, 1);
  assert.match(stdout, /failed +device cpu: hf:owner\/repository\/adapter .*offline mode forbids/);
});
