/** Forms that several tasks share: lines of data sets, prompts. */
import { z } from 'zod';
import type { ChoiceForm, GeneratedForm, PassageFile } from './task.ts';

const id = z.union([z.string(), z.number()]);
const choices = z.array(z.string()).nonempty();
const answer = z.int().nonnegative();
const text = z.string();

/** Lines of data sets. */
export const lines = {
  choices: z.object({ id, choices, answer }),
  question: z.object({ id, question: text, choices, answer }),
  answered: z.object({ id, question: text, answers: z.array(text) }),
  /** About a passage in another file. */
  answeredInContext: z.object({ id, question: text, answers: z.array(text), context_id: text }),
  /** The same, with the title of the passage's article. */
  answeredInArticle: z.object({ id, question: text, answers: z.array(text), context_id: text, title: text }),
} as const;

const context = z.object({ context_id: text, text }).transform((line) => ({ key: line.context_id, text: line.text }));

/** The passages of SQuAD's form: a file of contexts, which questions name. */
export function contextsIn(file: string): PassageFile<{ readonly context_id: string }> {
  return { file, passage: context, key: ({ context_id }) => context_id };
}

/** Everything else that a line may have. */
export const fields = { id, text } as const;

/** "Question: ...\nAnswer:" */
export function asked(question: string): string {
  return `Question: ${question}\nAnswer:`;
}

/** "问题：...\n答案：" */
export function askedInChinese(question: string): string {
  return `问题：${question}\n答案：`;
}

/** A prompt and words of which one is right, each behind a space. */
export function choiceForm(query: string, prompt: string, words: readonly string[], right: number): ChoiceForm {
  return { query, prompts: [{ text: prompt, continuations: words.map((one) => ` ${one}`) }], right: [right] };
}

/** The same with texts that a reference could say. */
export function textForm(query: string, prompt: string, texts: readonly string[], right: number): ChoiceForm {
  return { ...choiceForm(query, prompt, texts, right), answers: texts.slice(right, right + 1) };
}

/** Texts that are answered by their letters. */
export function letterForm(query: string, prompt: string, texts: readonly string[], right: number): ChoiceForm {
  return { ...textForm(query, prompt, texts, right), ...choiceForm(query, prompt, letters(texts.length), right) };
}

/** The texts as "A. ...", a line each. */
export function lettered(texts: readonly string[]): string {
  return texts.map((one, index) => `${letter(index)}. ${one}\n`).join('');
}

/** The letters of so many choices. */
export function letters(count: number): string[] {
  return Array.from({ length: count }, (_, index) => letter(index));
}

function letter(index: number): string {
  return String.fromCharCode(65 + index);
}

/** A question that is answered in a few words, behind a space. */
export function answerForm(question: string, answers: readonly string[]): GeneratedForm {
  return { query: question, prompt: asked(question), answers, demonstration: ` ${answers[0] ?? ''}` };
}

/** The same in Chinese, without the space. */
export function answerFormInChinese(question: string, answers: readonly string[]): GeneratedForm {
  return { query: question, prompt: askedInChinese(question), answers, demonstration: answers[0] ?? '' };
}

/** An answer of one line. */
export const shortAnswer = {
  kind: 'generated',
  maxTokens: 32,
  stop: '\n',
  metrics: ['exact', 'f1', 'contains'],
} as const;

/** Choices are texts of different lengths. */
export const textChoices = { kind: 'choice', metrics: ['accuracy', 'normalised-accuracy'] } as const;

/** Choices are letters or words of which the likeliest counts. */
export const wordChoices = { kind: 'choice', metrics: ['accuracy'] } as const;
