/** What `ask` and `chat` share: flags, the workspace, printing an answer as it comes. */
import { isAbsolute, relative } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type Answerer,
  type AnswerOptions,
  type AnswerSummary,
  type AnswerTrace,
  answer,
  answerOptionsSchema,
} from '../generate/answer.ts';
import { type OpenedModel, openModel, openWorkspace } from '../generate/workspace.ts';
import type { Message } from '../model/chat-template.ts';
import { type SearchMode, searchModes } from '../retrieval/search.ts';
import {
  addBankFlag,
  addModelFlags,
  addSamplingFlags,
  type BankFlags,
  type ModelFlags,
  modelOptions,
  number,
  refuseIdle,
  type SamplingFlags,
  samplingOptions,
  workspaceOptions,
} from './options.ts';
import { showFetching } from './pull.ts';
import type { Terminal } from './terminal.ts';

export interface AnswerFlags extends BankFlags, ModelFlags, SamplingFlags {
  readonly memory: boolean;
  readonly rag?: boolean;
  readonly memories: number;
  readonly search: SearchMode;
  readonly maxTokens: number;
  readonly stop: readonly string[];
  readonly system?: string;
  readonly json?: boolean;
}

export function addAnswerFlags(command: Command): Command {
  const { shape } = answerOptionsSchema;
  const defaults = answerOptionsSchema.parse({});
  command
    .option('--no-memory', 'answer without the bank')
    .addOption(new Option('--rag', 'put the same references into the prompt as text').conflicts('memory'))
    .addOption(number('--memories <n>', 'memories recalled at a time', shape.memories).default(defaults.memories))
    .addOption(new Option('--search <mode>', 'how references are found').choices(searchModes).default('hybrid'))
    .addOption(number('--max-tokens <n>', 'longest answer', shape.maxTokens).default(defaults.maxTokens))
    .addOption(
      new Option('--stop <text>', 'end the answer before this text; may be given again')
        .default([], 'none')
        .argParser((text: string, earlier: string[]) => {
          if (text === '') throw new InvalidArgumentError('It must not be empty.');
          return [...earlier, text];
        }),
    )
    .option('--system <text>', 'the system message');
  return addSamplingFlags(addModelFlags(addBankFlag(command)));
}

/**
 * Refuses flags that would change no answer.
 * @throws Memory3Error "usage"
 */
export function refuseIdleAnswerFlags(command: Command, { memory, temperature }: AnswerFlags): void {
  if (temperature === 0) {
    const drawing = ['topK', 'topP', 'minP', 'seed'];
    refuseIdle(command, drawing, 'with --temperature 0 nothing is drawn', 'give a --temperature above 0, such as 0.7');
  }
  if (!memory) {
    const recalling = ['bank', 'search', 'memories', 'embedder', 'layers', 'kept', 'scoring', 'storage'];
    refuseIdle(command, recalling, 'with --no-memory nothing is recalled', 'leave out --no-memory');
  }
}

/** Opens what the flags ask for; `--no-memory` needs no bank. */
export async function openForAnswers(
  flags: AnswerFlags,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<Answerer & OpenedModel> {
  using fetching = showFetching(terminal, signal, flags.offline);
  if (!flags.memory) return { ...(await openModel({ ...modelOptions(flags), fetch: fetching.options })), recall: null };
  return await openWorkspace({
    ...workspaceOptions(flags),
    recall: { search: flags.search },
    fetch: fetching.options,
    onNotice: (message) => terminal.notice(message),
  });
}

export function answerOptions(flags: AnswerFlags): AnswerOptions {
  const mode = !flags.memory ? 'none' : flags.rag === true ? 'rag' : 'memory';
  const { memories, maxTokens, stop } = flags;
  return { ...samplingOptions(flags), mode, memories, maxTokens, stop };
}

export function systemMessage({ system }: AnswerFlags): Message[] {
  return system === undefined ? [] : [{ role: 'system', content: system }];
}

/** Prints an answer while it is made, then its citations and times. @returns its summary, and what was read. */
export async function printAnswer(
  answerer: Answerer,
  messages: readonly Message[],
  options: AnswerOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<{ readonly summary: AnswerSummary; readonly trace: AnswerTrace }> {
  for await (const event of answer(answerer, messages, options, signal)) {
    if (event.kind === 'text') terminal.stream(event.text);
    else if (event.kind === 'notice') terminal.notice(event.message);
    else if (event.kind === 'end') {
      terminal.stream('\n');
      terminal.result({ mode: options.mode, ...event.summary }, () => describeCitations(event.summary, terminal));
      terminal.notice(describeTimes(event.summary));
      return event;
    }
  }
  throw new Error('The answer ended without a summary.');
}

export function describeCitations({ citations }: AnswerSummary, { colours }: Terminal): string {
  if (citations.length === 0) return '';
  const lines = citations.map(({ document, title, referenceId, score, text }) => {
    const beginning = text.replaceAll(/\s+/g, ' ').slice(0, 72);
    return `${colours.cyan(`[${referenceId}]`)} ${title ?? shortName(document)} ${colours.dim(`(${score.toFixed(3)}) ${beginning}…`)}`;
  });
  return `\n${colours.dim('Recalled for prompt and answer, best first:')}\n${lines.join('\n')}`;
}

/** A path as seen from the working folder where that is shorter; documents of other sources keep their name. */
export function shortName(document: string): string {
  if (!isAbsolute(document)) return document;
  const fromHere = relative(process.cwd(), document);
  return fromHere.length < document.length ? fromHere : document;
}

export function describeTimes({ times, promptTokens, answerTokens, memoryCounts }: AnswerSummary): string {
  const { recall, firstToken, decodeTokensPerSecond } = times;
  const parts = [
    `recall ${(recall.embed + recall.search + recall.load).toFixed(0)} ms`,
    `first token ${firstToken.toFixed(0)} ms`,
    `${promptTokens} + ${answerTokens} tokens`,
  ];
  if (decodeTokensPerSecond !== null) parts.push(`${decodeTokensPerSecond.toFixed(1)} tok/s`);
  if (memoryCounts !== null && memoryCounts.written > 0) parts.push(`${memoryCounts.written} cold memories written`);
  if (memoryCounts !== null && memoryCounts.notStored > 0) {
    parts.push(
      `${memoryCounts.notStored} of them not stored, since somebody else is writing or the bank cannot be written to`,
    );
  }
  return parts.join(', ');
}
