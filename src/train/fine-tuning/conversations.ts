/**
 * Conversations to learn from, read from JSON Lines in the forms in which they are published:
 *
 *   {messages: [{role, content}, ...]}       a system message if there is one, then user and assistant
 *   {instruction, input, output}             one round; the input, if any, stands below the instruction
 *   {prompt, answers: [...]}                 one round; the first answer is learned
 *
 * and for preferences {messages, chosen, rejected}, where the messages end with the user's, or {prompt, chosen, rejected}.
 * An answer is a string or an assistant message. Other fields are passed over.
 *
 * Of longer conversations only 8 rounds are kept (paper 6); each says how many it has lost.
 */
import { z } from 'zod';
import { streamJsonLines } from '../../json-lines.ts';
import type { Message } from '../../model/chat-template.ts';

/** Of a longer conversation the last rounds are kept, and its system message. A round begins with a user's message behind another's and ends before the next such. */
export interface RoundLimit {
  /** Default 8 (paper 6). */
  readonly rounds?: number;
}

/** What a conversation and a preference have in common. */
interface FromFile {
  /** "file, line 3" */
  readonly origin: string;
  /** Rounds that were left out. */
  readonly cutRounds: number;
}

/** A conversation that ends with an answer. */
export interface Conversation extends FromFile {
  readonly messages: readonly Message[];
}

/** Two answers to one prompt, of which the first is preferred. */
export interface Preference extends FromFile {
  /** Ends with the user's message. */
  readonly messages: readonly Message[];
  readonly chosen: string;
  readonly rejected: string;
}

const wellFormed = z.string().refine((text) => text.isWellFormed(), 'it has half a surrogate pair');
const text = wellFormed.refine((value) => value.trim() !== '', 'it is empty');
const message = z.object({ role: z.enum(['system', 'user', 'assistant']), content: text });
const answerMessage = message.extend({ role: z.literal('assistant') }).transform(({ content }) => content);
const answer = z.union([text, answerMessage], {
  error: 'an answer is a text or a message of the assistant, and not empty',
});

/** A system message or none, then one of the user, then any up to one of `last`. */
function messagesUpTo(last: 'user' | 'assistant') {
  return z.array(message).superRefine((messages, context) => {
    const first = messages[0]?.role === 'system' ? 1 : 0;
    const problem = (text: string, path: (string | number)[] = []): void =>
      context.addIssue({ code: 'custom', path, message: text });
    const system = messages.findIndex(({ role }, index) => role === 'system' && index > 0);
    if (system !== -1) problem('a system message can only be the first', [system, 'role']);
    else if (messages[first]?.role !== 'user') problem('the first behind a system message must be of the user');
    else if (messages.at(-1)?.role !== last) problem(`the last must be of the ${last}`);
  });
}

const user = (content: string): Message => ({ role: 'user', content });
const assistant = (content: string): Message => ({ role: 'assistant', content });

const conversationForms = {
  messages: z.object({ messages: messagesUpTo('assistant') }).transform(({ messages }): readonly Message[] => messages),
  instruction: z
    .object({ instruction: text, input: wellFormed.nullish(), output: text })
    .transform(({ instruction, input, output }): readonly Message[] => [
      user(input?.trim() ? `${instruction}\n\n${input}` : instruction),
      assistant(output),
    ]),
  prompt: z
    .object({ prompt: text, answers: z.tuple([text], text) })
    .transform(({ prompt, answers }): readonly Message[] => [user(prompt), assistant(answers[0])]),
};

const pair = { chosen: answer, rejected: answer };
const preferenceForms = {
  messages: z.object({ messages: messagesUpTo('user'), ...pair }),
  prompt: z
    .object({ prompt: text, ...pair })
    .transform(({ prompt, chosen, rejected }) => ({ messages: [user(prompt)], chosen, rejected })),
};

/**
 * The schema of the form whose first field a line has, so that its faults are named in that form's words.
 * @param foreign what a line is that was written for something else; asked of those that have no form
 */
function oneOf<T>(
  forms: Readonly<Record<string, z.ZodType<T>>>,
  foreign: (row: Readonly<Record<string, unknown>>) => string | undefined,
) {
  return z.looseObject({}).transform((row, context): T => {
    const other = foreign(row);
    const field = Object.keys(forms).find((name) => name in row);
    if (field === undefined) {
      const known = Object.keys(forms).join('", "');
      context.addIssue({ code: 'custom', message: other ?? `it has none of the fields "${known}"` });
      return z.NEVER;
    }
    const parsed = (forms[field] as z.ZodType<T>).safeParse(row);
    if (parsed.success) return parsed.data;
    if (other !== undefined) {
      context.addIssue({ code: 'custom', message: other });
      return z.NEVER;
    }
    for (const { path, message } of parsed.error.issues) context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  });
}

const conversationSchema = oneOf(conversationForms, (row) =>
  'chosen' in row ? 'it has the field "chosen", so it is data for `memory3 train dpo`' : undefined,
);
const conversationRemedy =
  'A line has {"messages"}, {"instruction", "output"} or {"prompt", "answers"}; docs/fine-tuning.md describes them.';
const preferenceSchema = oneOf<Pick<Preference, 'messages' | 'chosen' | 'rejected'>>(preferenceForms, (row) =>
  !('chosen' in row) && !('rejected' in row) && conversationSchema.safeParse(row).success
    ? 'it has neither "chosen" nor "rejected", so it is data for `memory3 train sft`'
    : undefined,
);
const preferenceRemedy =
  'A line has {"messages", "chosen", "rejected"} or {"prompt", "chosen", "rejected"}; docs/fine-tuning.md describes them.';

/**
 * Reads conversations, file by file and line by line.
 * @param files JSON Lines, plain or gzip
 * @throws Memory3Error "not-found"; "damaged", naming file and line.
 * @example for await (const { messages } of readConversations(['chats.jsonl.gz'])) ...
 */
export async function* readConversations(
  files: readonly string[],
  limit: RoundLimit = {},
): AsyncGenerator<Conversation, void> {
  for (const file of files) {
    for await (const { value, number } of streamJsonLines(file, conversationSchema, conversationRemedy)) {
      yield { ...limitRounds(value, limit), origin: `${file}, line ${number}` };
    }
  }
}

/**
 * Reads preferences.
 * @throws Memory3Error as `readConversations`.
 */
export async function* readPreferences(
  files: readonly string[],
  limit: RoundLimit = {},
): AsyncGenerator<Preference, void> {
  for (const file of files) {
    for await (const { value, number } of streamJsonLines(file, preferenceSchema, preferenceRemedy)) {
      const { chosen, rejected } = value;
      yield { ...limitRounds(value.messages, limit), chosen, rejected, origin: `${file}, line ${number}` };
    }
  }
}

/** Cuts a conversation to whole rounds. */
export function limitRounds(
  messages: readonly Message[],
  { rounds = 8 }: RoundLimit,
): { readonly messages: readonly Message[]; readonly cutRounds: number } {
  const starts = messages.flatMap(({ role }, index) =>
    role === 'user' && messages[index - 1]?.role !== 'user' ? [index] : [],
  );
  if (starts.length <= rounds) return { messages, cutRounds: 0 };
  const cutRounds = starts.length - rounds;
  return { messages: [...messages.slice(0, starts[0]), ...messages.slice(starts[cutRounds])], cutRounds };
}
