/**
 * Dialogues in the form of MT-Bench (Zheng et al. 2023; the paper's Table 18): the model answers a question and the one that
 * follows it up, through its chat template, greedily; a judge scores each of the two answers from 1 to 10.
 *
 *   answers.jsonl      the two answers to a question in a mode     } a line is appended when it is there, question by question:
 *   judgements.jsonl   what the judge says of one answer           } answers, then their two judgements
 *
 *   report.html        made of them at the end (`page.ts`)
 *
 * The modes are those of an answer (`generate/answer.ts`): memories are recalled every 64 tokens, references as text stand
 * in front of the last question. In both, what overlaps the dialogue's questions is left out. Whatever stops the process, the
 * next one goes on behind the last line, and ends with the same files: the model's answers do not depend on what was before.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { checkOptions, Memory3Error } from '../../errors.ts';
import { type AnswerSummary, answer } from '../../generate/answer.ts';
import type { Message } from '../../model/chat-template.ts';
import { type Evaluated, identityOf, recallOf } from '../eval/evaluate.ts';
import type { Mode } from '../eval/modes.ts';
import { defaultOverlap } from '../eval/references.ts';
import { openRecordFolder, type RecordFile, type RecordFolder } from '../record-folder.ts';
import { askJudge, type Judge } from './judge.ts';
import { judgeMessages, type Turn } from './judge-prompt.ts';
import { dialoguePage } from './page.ts';
import { type DialogueQuestion, dialogueQuestions, firstQuestions } from './questions.ts';
import { type AnswerRecord, answerSchema, type JudgementRecord, judgementSchema, type TurnRecord } from './records.ts';
import { withoutOverlaps } from './references.ts';
import { type DialogueCell, summariseDialogues } from './summary.ts';

export const dialogueOptionsSchema = z.strictObject({
  /** Questions, one of each category in turn. */
  limit: z.int().min(1).default(1000),
  /** Longest answer. */
  maxTokens: z.int().min(1).default(256),
  /** Greatest overlap of a reference with its question (Eq. 6); null: no filter. */
  overlap: z.number().min(0).max(1).nullable().default(defaultOverlap),
});
export type DialogueOptions = z.input<typeof dialogueOptionsSchema>;
type CheckedOptions = z.output<typeof dialogueOptionsSchema>;

export interface DialogueRequest extends DialogueOptions {
  /** The evaluation's folder. */
  readonly folder: string;
  readonly modes: readonly Mode[];
  readonly judge: Judge;
  /** Default: the project's. */
  readonly questions?: readonly DialogueQuestion[];
  /** Told when the judge has to be asked again. */
  readonly onNotice?: (message: string) => void;
  /** Stops between two tokens, or while the judge is asked. */
  readonly signal?: AbortSignal;
}

export type DialogueEvent =
  | {
      /** A question's answers are there and scored. */
      readonly kind: 'question';
      readonly id: string;
      readonly mode: string;
      /** Questions in modes: done, and all. */
      readonly done: number;
      readonly total: number;
    }
  | {
      readonly kind: 'summary';
      readonly cells: readonly DialogueCell[];
      /** The report's file. */
      readonly report: string;
    };

/**
 * Evaluates dialogues, or goes on with them.
 * @throws Memory3Error "network" if the judge gives no score, naming what came back; "usage" for modes that need a bank
 *   where there is none or an unfinished one, or that dialogues do not have; "mismatch" if the folder is of another
 *   evaluation; "damaged"; "locked"; "disk"; the signal's reason. What was measured before stays.
 */
export async function* evaluateDialogues(
  evaluated: Evaluated,
  { folder: path, modes, judge, questions: given = dialogueQuestions(), onNotice, signal, ...rest }: DialogueRequest,
): AsyncGenerator<DialogueEvent, void> {
  const options = checkOptions(dialogueOptionsSchema, rest);
  checkModes(evaluated, modes);
  const questions = firstQuestions(given, options.limit);
  using folder = openRecordFolder(path, {
    format: 'memory3 eval dialogue 1',
    config: {
      ...options,
      limit: questions.length,
      modes: modes.map(({ name }) => name),
      questions: createHash('sha256').update(JSON.stringify(questions)).digest('hex'),
      // Never its key.
      judge: { url: judge.url, model: judge.model },
      ...(await identityOf(evaluated)),
    },
  });
  const answers = folder.file('answers.jsonl', answerSchema);
  const judgements = folder.file('judgements.jsonl', judgementSchema);
  const total = modes.length * questions.length;
  const done = { answers: 0, judgements: 0 };
  for (const mode of modes) {
    for (const question of questions) {
      const before = answers.records.length + judgements.records.length;
      const { turns } = await next(folder, answers, 'answers.jsonl', done.answers++, {
        expected: { mode: mode.name, id: question.id },
        make: () => answerQuestion(evaluated, question, mode, options, signal),
      });
      const texts = turns.map(({ answer }) => answer).filter((one) => one !== null);
      for (const [index] of texts.entries()) {
        const turn = (index + 1) as Turn;
        const expected = { mode: mode.name, id: question.id, turn };
        await next(folder, judgements, 'judgements.jsonl', done.judgements++, {
          expected,
          make: async (): Promise<JudgementRecord> => ({
            ...expected,
            ...(await askJudge(judge, judgeMessages(question, texts, turn), {
              ...(onNotice && { onNotice }),
              ...(signal && { signal }),
            })),
          }),
        });
      }
      if (answers.records.length + judgements.records.length > before) {
        yield { kind: 'question', id: question.id, mode: mode.name, done: done.answers, total };
      }
    }
  }
  if (answers.records.length > done.answers) throw unexpected(folder, 'answers.jsonl', done.answers);
  if (judgements.records.length > done.judgements) throw unexpected(folder, 'judgements.jsonl', done.judgements);
  const names = modes.map(({ name }) => name);
  const cells = summariseDialogues(questions, names, answers.records, judgements.records);
  folder.saveSummary(cells);
  const page = await dialoguePage({
    model: evaluated.file.name,
    judge: judge.model ?? 'the judge',
    ...{ modes: names, questions, answers: answers.records, judgements: judgements.records, cells },
  });
  onDisk(path, () => replaceFile(path, 'report.html', page));
  yield { kind: 'summary', cells, report: join(path, 'report.html') };
}

/**
 * A file's record with this index: the one that is there, or else a new one.
 * @throws Memory3Error "damaged" if another is there
 */
async function next<T extends object>(
  folder: RecordFolder,
  file: RecordFile<T>,
  name: string,
  index: number,
  { expected, make }: { readonly expected: Partial<T>; readonly make: () => Promise<T> },
): Promise<T> {
  const there = file.records[index];
  if (there === undefined) {
    const made = await make();
    file.append([made]);
    return made;
  }
  const fields = Object.keys(expected) as (keyof T)[];
  if (fields.some((field) => there[field] !== expected[field])) throw unexpected(folder, name, index);
  return there;
}

function unexpected({ path }: RecordFolder, name: string, index: number): Memory3Error {
  return new Memory3Error('damaged', `${path}/${name}, line ${index + 1}: this record is not expected here.`, {
    remedy: 'Evaluate into another folder.',
  });
}

function checkModes(evaluated: Evaluated, modes: readonly Mode[]): void {
  const other = modes.find(({ profile, gold }) => gold || Object.keys(profile).length > 0);
  if (other !== undefined) {
    throw new Memory3Error('usage', `Dialogues cannot be evaluated in the mode ${other.name}.`, {
      remedy: "They recall from the bank, with the model's own memory profile: none, memory, memory:3, rag, rag:3.",
    });
  }
  if (modes.some(({ references }) => references > 0)) recallOf(evaluated);
}

/** What ends an answer of a model without a chat template, which would go on with a question of its own. */
const plainStop = '\nQuestion:';

/** Answers a question and the one that follows it up. */
async function answerQuestion(
  evaluated: Evaluated,
  question: DialogueQuestion,
  mode: Mode,
  { maxTokens, overlap }: CheckedOptions,
  signal: AbortSignal | undefined,
): Promise<AnswerRecord> {
  const { tokenizer, chatTemplate } = evaluated;
  const text = question.turns.map((turn) => turn.text).join('\n');
  const options = {
    mode: mode.kind,
    maxTokens,
    stop: chatTemplate === null ? [plainStop] : [],
    ...(mode.kind === 'none' ? {} : { memories: mode.references }),
  } as const;
  const messages: Message[] = [];
  const ask = async (asked: string): Promise<TurnRecord> => {
    // Not to be judged by half a dialogue: the turns after one that did not fit are not asked.
    if (messages.at(-1)?.role === 'user') return tooLong;
    messages.push({ role: 'user', content: asked });
    const recall =
      evaluated.recall === null ? null : withoutOverlaps(evaluated.recall, tokenizer.encode(text), overlap);
    const summary = await summaryOf(answer({ ...evaluated, recall }, messages, options, signal));
    if (summary === null) return tooLong;
    messages.push({ role: 'assistant', content: summary.text });
    const references = summary.citations.map(({ referenceId }) => referenceId);
    return { answer: summary.text, references, leftOut: recall?.leftOut ?? 0, cut: summary.finish === 'length' };
  };
  const [first, second] = question.turns;
  return { mode: mode.name, id: question.id, turns: [await ask(first.text), await ask(second.text)] };
}

const tooLong: TurnRecord = { answer: null, references: [], leftOut: 0, cut: false };

/** What an answer comes to; null if the dialogue does not fit the model's context. */
async function summaryOf(events: ReturnType<typeof answer>): Promise<AnswerSummary | null> {
  try {
    for await (const event of events) if (event.kind === 'end') return event.summary;
  } catch (error) {
    if (error instanceof Memory3Error && error.code === 'too-long') return null;
    throw error;
  }
  throw new Error('The answer ended without a summary.');
}
