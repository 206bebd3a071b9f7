/**
 * A judge: a language model behind an OpenAI-compatible endpoint (`POST {url}/chat/completions`).
 *
 * What may pass is asked again, with longer and longer waits: no connection, no answer in time, HTTP 408, 425, 429 and 5xx
 * (not before `Retry-After`, where the server says one), a reply that is not of the protocol, words without a score. Other
 * HTTP errors would come back the same. A judge that gives no score in the end is an error that names what came back: a
 * missing score is never made up for.
 *
 * The key comes from the caller, goes into the request's header, and stands in no message: should a server repeat it, it
 * is blotted out before anything else looks at the text.
 */
import { setTimeout as wait } from 'node:timers/promises';
import pRetry from 'p-retry';
import { z } from 'zod';
import { checkOptions, Memory3Error, rootMessage } from '../../errors.ts';
import type { Message } from '../../model/chat-template.ts';
import { scoreIn } from './judge-prompt.ts';

export const judgeOptionsSchema = z.strictObject({
  /** Where the endpoint's paths begin: "http://localhost:8080/v1" */
  url: z
    .url({ protocol: /^https?$/, abort: true, error: 'The judge needs an http(s) address.' })
    .refine((url) => URL.parse(url)?.username === '' && URL.parse(url)?.password === '', {
      error: 'The address must not hold a name or password: a key belongs into an environment variable.',
    })
    .refine((url) => !/[?#]/.test(url), { error: 'The address must end with its path.' })
    .transform((url) => url.replace(/\/+$/, '')),
  /** The model's name at the endpoint; null: the endpoint has only one. */
  model: z.string().min(1).nullable().default(null),
  /** Goes into the header "Authorization: Bearer". */
  key: z
    .string()
    .regex(/^[\x21-\x7e]+$/, { error: 'A key is made of printable characters without spaces.' })
    .nullable()
    .default(null),
  /** Longest wait for one reply; after 300 s `fetch` itself gives up. */
  timeoutSeconds: z.number().positive().max(300, { error: 'A reply is waited for at most 300 s.' }).default(120),
  /** How often a request is made again. */
  retries: z.int().min(0).max(20).default(4),
  /** Before the first of them; each next wait is twice as long. */
  firstWaitSeconds: z.number().min(0).max(60).default(1),
});
export type JudgeOptions = z.input<typeof judgeOptionsSchema>;

/** A checked judge. */
export type Judge = Readonly<z.output<typeof judgeOptionsSchema>>;

/** What a judge says of an answer. */
export interface Verdict {
  /** 1 to 10. */
  readonly score: number;
  /** Its words. */
  readonly reply: string;
  /** The model that says so, as the endpoint calls it; null if it does not say. */
  readonly model: string | null;
}

/** @throws Memory3Error "usage" */
export function openJudge(options: JudgeOptions): Judge {
  return checkOptions(judgeOptionsSchema, options);
}

/** Longest wait that a server may ask for. */
const longestWaitSeconds = 300;
/** Enough for a few sentences and a score, also of a model that thinks first. */
const replyTokens = 2048;
/** Characters of what came back that a message quotes. */
const quoted = 300;

const choiceSchema = z.object({ message: z.object({ content: z.string() }), finish_reason: z.string().nullish() });
const replySchema = z.object({ model: z.string().nullish(), choices: z.tuple([choiceSchema], choiceSchema) });

/** An attempt that came to nothing. */
class Failure extends Error {
  override readonly name = 'Failure';
  /** Whether it may go better later. */
  readonly passing: boolean;
  /** What the server asks to wait. */
  readonly waitSeconds: number;

  constructor(message: string, { passing = true, waitSeconds = 0, cause = undefined as unknown } = {}) {
    super(message, { cause });
    this.passing = passing;
    this.waitSeconds = waitSeconds;
  }
}

export interface AskOptions {
  /** Told of each attempt that came to nothing and is followed by another. */
  readonly onNotice?: (message: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Asks for the score of an answer.
 * @throws Memory3Error "network" naming what came back; the signal's reason
 * @example (await askJudge(openJudge({ url: 'http://localhost:8080/v1' }), judgeMessages(question, answers, 1))).score // 7
 */
export async function askJudge(
  judge: Judge,
  messages: readonly Message[],
  { onNotice, signal }: AskOptions = {},
): Promise<Verdict> {
  let attempts = 0;
  try {
    return await pRetry(() => attempt(judge, messages, signal), {
      retries: judge.retries,
      minTimeout: judge.firstWaitSeconds * 1000,
      signal,
      shouldRetry: ({ error }) => canPass(error),
      async onFailedAttempt({ error, attemptNumber, retriesLeft, retryDelay }) {
        attempts = attemptNumber;
        if (retriesLeft === 0 || !canPass(error)) return;
        const asked = error instanceof Failure ? error.waitSeconds * 1000 : 0;
        const seconds = (Math.max(asked, retryDelay) / 1000).toPrecision(2);
        onNotice?.(`The judge gave no score: ${error.message} It is asked again in ${Number(seconds)} s.`);
        // The delay follows by itself.
        await wait(Math.max(0, asked - retryDelay), undefined, { ...(signal && { signal }) });
      },
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof Failure)) throw error;
    const times = attempts === 1 ? 'once' : `${attempts} times`;
    throw new Memory3Error(
      'network',
      `The judge at ${judge.url} was asked ${times} and gave no score: ${error.message}`,
      {
        remedy: 'What was measured is kept: the same command goes on.',
        cause: error,
      },
    );
  }
}

function canPass(error: Error): boolean {
  return error instanceof Failure && error.passing && error.waitSeconds <= longestWaitSeconds;
}

async function attempt(judge: Judge, messages: readonly Message[], signal: AbortSignal | undefined): Promise<Verdict> {
  const { url, model, key, timeoutSeconds } = judge;
  const timeout = AbortSignal.timeout(Math.ceil(timeoutSeconds * 1000));
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${url}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ ...(model === null ? {} : { model }), messages, temperature: 0, max_tokens: replyTokens }),
      // A redirection would turn the question into another request.
      redirect: 'manual',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    text = await response.text();
  } catch (cause) {
    if (timeout.aborted) throw new Failure(`no answer within ${timeoutSeconds} s.`, { cause });
    throw new Failure(`${rootMessage(cause)}.`, { cause });
  }
  if (key !== null) text = text.replaceAll(key, '[key]');
  if (!response.ok) throw httpFailure(response, text);
  return verdictIn(text);
}

function httpFailure({ status, headers }: Response, text: string): Failure {
  const waitSeconds = secondsToWait(headers.get('retry-after'));
  const asked = waitSeconds === 0 ? '' : ` and asks for ${Math.ceil(waitSeconds)} s of patience`;
  return new Failure(`HTTP ${status}${asked}: ${quote(text)}`, {
    passing: status >= 500 || [408, 425, 429].includes(status),
    waitSeconds,
  });
}

/** Retry-After has seconds or a date (RFC 9110, 10.2.3); what is neither says nothing. */
function secondsToWait(value: string | null): number {
  if (value === null) return 0;
  if (/^\d+$/.test(value)) return Number(value);
  const until = Date.parse(value);
  return Number.isNaN(until) ? 0 : Math.max(0, (until - Date.now()) / 1000);
}

function verdictIn(text: string): Verdict {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Failure(`its reply is not JSON: ${quote(text)}`, { cause });
  }
  const parsed = replySchema.safeParse(value);
  if (!parsed.success) throw new Failure(`its reply is no chat completion: ${quote(text)}`, { cause: parsed.error });
  const { choices, model } = parsed.data;
  const { message, finish_reason: finish } = choices[0];
  const score = scoreIn(message.content);
  if (score !== null) return { score, reply: message.content, model: model ?? null };
  const cut = finish === 'length' ? ', cut off at its limit of tokens' : '';
  throw new Failure(`no line "Score: 1" to "Score: 10" stands in its words${cut}: ${quote(message.content)}`);
}

function quote(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line === '' ? '(nothing).' : `"${line.length > quoted ? `${line.slice(0, quoted)}...` : line}".`;
}
