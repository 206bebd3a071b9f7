import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type TemporaryFolder, temporaryFolder } from '../../test/support/temporary.ts';
import { type Check, type DoctorOptions, examine } from './doctor.ts';

const modelPath = fileURLToPath(new URL('../../test/golden/families/llama', import.meta.url));
let home: TemporaryFolder;
let formerHome: string | undefined;
before(() => {
  home = temporaryFolder();
  formerHome = process.env.MEMORY3_HOME;
  process.env.MEMORY3_HOME = home.path;
});
after(() => {
  if (formerHome === undefined) delete process.env.MEMORY3_HOME;
  else process.env.MEMORY3_HOME = formerHome;
  home[Symbol.dispose]();
});

async function checks(options: DoctorOptions): Promise<Map<string, Check>> {
  return new Map((await Array.fromAsync(examine(options))).map((check) => [check.name, check]));
}

describe('the doctor', () => {
  it('looks at everything that answering needs, and counts what ran where', async () => {
    const found = await checks({ modelPath, threads: 1 });
    assert.match(found.get('Node.js')?.detail ?? '', new RegExp(process.versions.node));
    assert.match(found.get('ONNX Runtime')?.detail ?? '', /^\d+\.\d+\.\d+ with cpu/);
    assert.match(found.get('machine')?.detail ?? '', /GB of memory, \d+ cores, threads: 1/);
    assert.ok(found.has('pip'));
    for (const name of ['models', 'banks']) {
      const { state, detail } = found.get(`${name} folder`) as Check;
      assert.notEqual(state, 'failed');
      assert.ok(detail.startsWith(home.path), detail);
    }
    // This home is empty; the model that was tried is another.
    assert.deepEqual(
      [...found.values()].filter(({ name }) => name.startsWith('model ')).map(({ state, remedy }) => [state, remedy]),
      new Array(2).fill(['warning', 'memory3 pull']),
    );
    const { state, detail, operators } = found.get('device cpu') as Check;
    assert.equal(state, 'ok');
    assert.match(detail, /tokens\/s; \d+ nodes on CPU$/);
    const norms = operators?.find(({ operator }) => operator === 'SkipSimplifiedLayerNormalization');
    // One for each of two layers; a prompt and two single tokens.
    assert.deepEqual([norms?.nodes, norms?.runs], [2, 6]);
  });

  it('says what is wrong with a home that is a file, and goes on', async () => {
    process.env.MEMORY3_HOME = home.write('file', '');
    try {
      const found = await checks({ modelPath, threads: 1 });
      const failed = [...found.values()].filter(({ state }) => state === 'failed');
      assert.deepEqual(
        failed.map(({ name }) => name.split(' ')[0]),
        ['models', 'banks', 'model', 'model'],
      );
      for (const { remedy } of failed) assert.match(remedy ?? '', /MEMORY3_HOME/);
      assert.equal(found.get('device cpu')?.state, 'ok');
    } finally {
      process.env.MEMORY3_HOME = home.path;
    }
  });

  it('says why the device cannot run the model, and what to do', async () => {
    const nowhere = `${modelPath}/nothing.gguf`;
    const missing = (await checks({ modelPath: nowhere })).get('device cpu') as Check;
    assert.deepEqual([missing.state, missing.remedy], ['failed', null]);
    assert.match(missing.detail, /There is no model at .*nothing\.gguf/);
    const elsewhere = (await checks({ modelPath: nowhere, provider: 'webgpu' })).get('device webgpu') as Check;
    assert.deepEqual([elsewhere.state, elsewhere.remedy], ['failed', 'Use --device cpu.']);
    const untried = (await checks({})).get('device cpu') as Check;
    assert.deepEqual([untried.state, untried.remedy], ['warning', 'memory3 pull']);
  });

  it('fetches an adapter as it is told: offline from nowhere', async () => {
    const options: DoctorOptions = { modelPath, adapter: 'hf:owner/repository/adapter', fetch: { offline: true } };
    const { state, detail, remedy } = (await checks(options)).get('device cpu') as Check;
    assert.equal(state, 'failed');
    assert.match(detail, /offline mode forbids fetching it/);
    assert.match(remedy ?? '', /--offline/);
  });
});
