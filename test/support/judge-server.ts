/** A judge on a port of this machine: HTTP as an OpenAI-compatible endpoint speaks it, and as a broken one does. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface JudgeRequest {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: { readonly messages: readonly { readonly role: string; readonly content: string }[]; model?: string };
  /** When it came, milliseconds. */
  readonly at: number;
}

export interface JudgeResponse {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface JudgeServer extends AsyncDisposable {
  readonly url: string;
  readonly requests: readonly JudgeRequest[];
  /** What it answers from now on; null: nothing, for ever. */
  respond: (request: JudgeRequest) => JudgeResponse | null;
}

export async function openJudgeServer(respond: JudgeServer['respond']): Promise<JudgeServer> {
  const requests: JudgeRequest[] = [];
  const server = createServer(async (request, response) => {
    const { method, url: path, headers } = request;
    const received: JudgeRequest = {
      method,
      path,
      headers,
      body: JSON.parse(await text(request)) as JudgeRequest['body'],
      at: performance.now(),
    };
    requests.push(received);
    const answer = judge.respond(received);
    if (answer === null) return;
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
    response.end(answer.body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const judge: JudgeServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    respond,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return judge;
}

/** A chat completion. */
export function saying(content: string | null, finish = 'stop'): JudgeResponse {
  const choices = [{ index: 0, message: { role: 'assistant', content }, finish_reason: finish }];
  return { body: JSON.stringify({ id: 'x', object: 'chat.completion', model: 'judge-1', choices }) };
}

/** A score that depends on everything that is asked, and on nothing else. */
export function scoring({ body }: JudgeRequest): JudgeResponse {
  const digest = createHash('sha256').update(JSON.stringify(body.messages)).digest();
  return saying(`It is what it is.\nScore: ${1 + ((digest[0] as number) % 10)}`);
}
