/**
 * Contexts as tokens and weights.
 *
 *   question        <bos>Question: {q}\nAnswer: {a}\n                   weights on " {a}\n"
 *   gap             <bos>Question: Fill in the gap: {sentence}\nAnswer: {a}\n
 *   chat-question   the chat template around q and a                    weights on a and the token that ends it
 *   reconstruction  <bos>Quote: {a few tokens}{the next 40}             weights on the 40
 *   continuation    <bos> {60 tokens of text}                           weights on all of them
 *   text            <bos> {240 tokens of text}                          weights on all of them
 *
 * With references as text (mode "rag"), their text (`referencesAsText`) stands before all that, or before the question in the
 * user's message: the forms of `evaluate/quality.ts` and of answers.
 */
import { referencesAsText } from '../../generate/prompt.ts';
import { type ChatTemplate, encodeChat, type Message } from '../../model/chat-template.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { ContextKind, TrainingContext } from './group.ts';

/** What a context says. Token lists are those of the reference, so that a quotation is the very same tokens. */
export type Utterance =
  | { readonly form: 'question'; readonly question: string; readonly answer: string }
  | { readonly form: 'chat'; readonly prompt: string; readonly answer: string }
  | { readonly form: 'quotation'; readonly start: readonly number[]; readonly rest: readonly number[] }
  | { readonly form: 'text'; readonly tokens: readonly number[] };

export interface Renderer {
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: ChatTemplate | null;
  /** Most tokens of a context but a text, references in the prompt not counted. */
  readonly contextTokens: number;
}

export interface Rendered {
  readonly tokens: readonly number[];
  /** Index of the first token that the loss counts; it counts all behind it. */
  readonly first: number;
  /** Whether tokens beyond the limit were left off. */
  readonly cut: boolean;
}

/**
 * @param references texts to put into the prompt
 * @returns tokens up to the limit; if the limit leaves none that the loss counts, `first` is `tokens.length`.
 */
export function render(utterance: Utterance, references: readonly string[], renderer: Renderer): Rendered {
  const { tokenizer, contextTokens } = renderer;
  const prefix = referencesAsText(references);
  const { prompt, target } = promptAndTarget(utterance, prefix, renderer);
  const tokens = [...prompt, ...target];
  const room = contextTokens + (prefix === '' ? 0 : tokenizer.encode(prefix).length);
  const limit = utterance.form === 'text' ? tokens.length : room;
  return { tokens: tokens.slice(0, limit), first: Math.min(prompt.length, limit), cut: tokens.length > limit };
}

/** A context whose weights sum to 1. */
export function weighted(
  kind: ContextKind,
  { tokens, first }: Rendered,
  references: readonly number[],
): TrainingContext {
  const weight = 1 / (tokens.length - first);
  return { kind, tokens, weights: tokens.map((_, index) => (index < first ? 0 : weight)), references };
}

interface PromptAndTarget {
  readonly prompt: readonly number[];
  readonly target: readonly number[];
}

function promptAndTarget(utterance: Utterance, prefix: string, { tokenizer, chatTemplate }: Renderer): PromptAndTarget {
  const behind = (text: string) => tokenizer.encode(text, { continuation: true });
  const begin = (text: string) => [tokenizer.bosTokenId, ...(text === '' ? [] : tokenizer.encode(text))];
  switch (utterance.form) {
    case 'question':
      // The end of the line says that the answer is over.
      return {
        prompt: begin(`${prefix}Question: ${utterance.question}\nAnswer:`),
        target: [...behind(` ${utterance.answer}`), ...behind('\n')],
      };
    case 'chat':
      return chatExchange(prefix + utterance.prompt, utterance.answer, chatTemplate, tokenizer);
    case 'quotation':
      return { prompt: [...begin(`${prefix}Quote:`), ...utterance.start], target: utterance.rest };
    case 'text':
      return { prompt: begin(prefix), target: utterance.tokens };
  }
}

/** The answer up to and with the first token that ends an answer, or as far as the template goes. */
function chatExchange(
  prompt: string,
  answer: string,
  template: ChatTemplate | null,
  tokenizer: Tokenizer,
): PromptAndTarget {
  const user: Message = { role: 'user', content: prompt };
  const asked = encodeChat(template, tokenizer, [user], { addGenerationPrompt: true }).tokens;
  const whole = encodeChat(template, tokenizer, [user, { role: 'assistant', content: answer }], {
    addGenerationPrompt: false,
  }).tokens;
  // What the prompt and the whole have in common is what a generated answer stands behind.
  let common = 0;
  while (common < asked.length && asked[common] === whole[common]) common++;
  const end = whole.findIndex((token, index) => index >= common && tokenizer.endTokenIds.includes(token));
  return { prompt: whole.slice(0, common), target: whole.slice(common, end < 0 ? whole.length : end + 1) };
}
