/** The judge's protocol against a real server, sound and broken. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { type JudgeResponse, type JudgeServer, openJudgeServer, saying } from '../../../test/support/judge-server.ts';
import type { Message } from '../../model/chat-template.ts';
import { askJudge, type JudgeOptions, openJudge } from './judge.ts';

const messages: readonly Message[] = [
  { role: 'system', content: 'Mark.' },
  { role: 'user', content: 'This.' },
];

let server: JudgeServer;
let asked: number;
before(async () => {
  server = await openJudgeServer(() => saying('Score: 1'));
});
beforeEach(() => {
  asked = server.requests.length;
});
after(() => server[Symbol.asyncDispose]());

/** Asks with short waits; the server answers each request with the next response, and goes on with the last. */
async function ask(
  responses: readonly (JudgeResponse | null)[],
  options: Partial<JudgeOptions> = {},
  signal?: AbortSignal,
) {
  const first = server.requests.length;
  server.respond = () => {
    const index = server.requests.length - 1 - first;
    return responses[Math.min(index, responses.length - 1)] as JudgeResponse | null;
  };
  const notices: string[] = [];
  const judge = openJudge({ url: server.url, firstWaitSeconds: 0.001, ...options });
  const verdict = await askJudge(judge, messages, {
    onNotice: (notice) => notices.push(notice),
    ...(signal && { signal }),
  });
  return { verdict, notices };
}

const requests = () => server.requests.slice(asked);
const failing = (status: number, body = 'The kettle is broken.', headers = {}) => ({ status, body, headers });

describe('a judge', () => {
  it('is asked for a chat completion, and gives a score', async () => {
    const { verdict, notices } = await ask([saying('Right.\nScore: 9')], {
      url: `${server.url}/`,
      model: 'large',
      key: 'sk-1',
    });
    assert.deepEqual(verdict, { score: 9, reply: 'Right.\nScore: 9', model: 'judge-1' });
    assert.deepEqual(notices, []);
    const [request] = requests();
    assert.deepEqual([request?.method, request?.path], ['POST', '/v1/chat/completions']);
    assert.equal(request?.headers.authorization, 'Bearer sk-1');
    assert.equal(request?.headers['content-type'], 'application/json');
    assert.deepEqual(request?.body, { model: 'large', messages, temperature: 0, max_tokens: 2048 });
  });

  it('is sent neither a model nor a key that is not given', async () => {
    await ask([saying('Score: 2')], { timeoutSeconds: 16.1 });
    assert.equal(requests()[0]?.headers.authorization, undefined);
    assert.ok(!('model' in (requests()[0]?.body ?? { model: '' })));
  });

  it('is asked again for words without a score, and after that the error quotes them', async () => {
    const { verdict, notices } = await ask([saying('Hm.'), saying(''), saying('Score: 4')]);
    assert.equal(verdict.score, 4);
    assert.equal(requests().length, 3);
    assert.match(notices[0] ?? '', /gave no score: .*in its words: "Hm\."\. It is asked again in 0\.001 s/);
    assert.match(notices[1] ?? '', /in its words: \(nothing\)/);
    await assert.rejects(ask([saying('Well, ', 'length')], { retries: 2 }), {
      code: 'network',
      message: /was asked 3 times and gave no score: no line .*, cut off at its limit of tokens: "Well,"/,
    });
  });

  it('is asked again for a reply that is not of the protocol', async () => {
    const broken = [{ body: '<html>Welcome</html>' }, { body: '{"choices": []}' }, saying(null), { body: '' }];
    const { verdict, notices } = await ask([...broken, saying('Score: 5')]);
    assert.equal(verdict.score, 5);
    for (const [index, what] of [
      /not JSON: "<html>/,
      /no chat completion/,
      /no chat completion/,
      /not JSON/,
    ].entries()) {
      assert.match(notices[index] ?? '', what);
    }
    await assert.rejects(ask([{ body: 'x'.repeat(1000) }], { retries: 0 }), {
      code: 'network',
      message: /asked once and gave no score: its reply is not JSON: "x{300}\.\.\."/,
    });
  });

  it('is asked again after an error of its server, which is named in the end', async () => {
    const { verdict, notices } = await ask([failing(500), failing(503), saying('Score: 6')]);
    assert.equal(verdict.score, 6);
    assert.equal(notices.length, 2);
    await assert.rejects(ask([failing(502)]), {
      code: 'network',
      message: /asked 5 times and gave no score: HTTP 502: "The kettle is broken\."/,
    });
    assert.equal(requests().length, 8);
  });

  it('is not asked before Retry-After', async () => {
    const soon = failing(429, 'Too many.', { 'retry-after': '1' });
    const date = failing(503, 'Busy.', { 'retry-after': new Date(Date.now() - 1000).toUTCString() });
    const { verdict, notices } = await ask([soon, date, saying('Score: 3')]);
    assert.equal(verdict.score, 3);
    const [first, second] = requests().map(({ at }) => at);
    // Timers may fire a millisecond early.
    assert.ok((second as number) - (first as number) >= 998);
    assert.match(notices[0] ?? '', /HTTP 429 and asks for 1 s of patience: "Too many\.".*asked again in 1 s/);
  });

  it('stops where the server asks for more patience than there is', async () => {
    await assert.rejects(ask([failing(429, 'Enough for today.', { 'retry-after': '7200' })]), {
      code: 'network',
      message: /asked once .* HTTP 429 and asks for 7200 s of patience: "Enough for today\."/,
    });
  });

  it('is not asked again for what would come back the same, and a key that is repeated is blotted out', async () => {
    for (const status of [400, 401, 404, 307]) {
      const message = new RegExp(`asked once and gave no score: HTTP ${status}: "Wrong: \\[key\\]`);
      const answer = failing(status, 'Wrong: sk-secret', { location: '/elsewhere' });
      await assert.rejects(ask([answer], { key: 'sk-secret' }), { code: 'network', message });
    }
    assert.equal(requests().length, 4);
    const { verdict } = await ask([saying('You are sk-secret.\nScore: 5')], { key: 'sk-secret' });
    assert.equal(verdict.reply, 'You are [key].\nScore: 5');
  });

  it('that does not answer, or is not there, is an error', async () => {
    await assert.rejects(ask([null], { timeoutSeconds: 0.05, retries: 1 }), {
      code: 'network',
      message: /asked 2 times and gave no score: no answer within 0\.05 s/,
    });
    const gone = await openJudgeServer(() => null);
    await gone[Symbol.asyncDispose]();
    await assert.rejects(ask([], { url: gone.url, retries: 1 }), {
      code: 'network',
      message: /asked 2 times and gave no score: .*ECONNREFUSED/,
    });
  });

  it('is given up when the caller wants it, while it is asked and while it is waited for', async () => {
    const asking = AbortSignal.timeout(30);
    await assert.rejects(ask([null], {}, asking), (error) => error === asking.reason);
    const waiting = AbortSignal.timeout(30);
    await assert.rejects(ask([failing(500)], { firstWaitSeconds: 60 }, waiting), (error) => error === waiting.reason);
    const patient = AbortSignal.timeout(30);
    const later = failing(429, '', { 'retry-after': '60' });
    await assert.rejects(ask([later], {}, patient), (error) => error === patient.reason);
  });

  it('needs an address, without secrets in it, a key that fits a header, and a wait that can be waited', () => {
    const wrong = (options: JudgeOptions, message: RegExp) =>
      assert.throws(() => openJudge(options), { code: 'usage', message });
    wrong({ url: 'localhost:80' }, /^url: The judge needs an http\(s\) address\.$/);
    wrong({ url: 'ftp://judge/v1' }, /url: The judge needs an http/);
    wrong({ url: 'http://me:secret@judge/v1' }, /url: .*environment variable/);
    wrong({ url: 'http://judge/v1?key=1' }, /url: The address must end with its path/);
    wrong({ url: 'http://judge/v1', timeoutSeconds: 301 }, /timeoutSeconds: A reply is waited for at most 300 s/);
    wrong(
      { url: 'http://judge/v1', key: 'two\nlines' },
      /^key: A key is made of printable characters without spaces\.$/,
    );
  });
});
