/** `memory3 ask`: one question, one answer. */
import { text } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { Memory3Error } from '../errors.ts';
import { type Explanation, explainAnswer } from '../evaluate/explain.ts';
import { explanationPage } from '../evaluate/explanation-page.ts';
import type { Answerer, AnswerTrace } from '../generate/answer.ts';
import {
  type AnswerFlags,
  addAnswerFlags,
  answerOptions,
  openForAnswers,
  printAnswer,
  refuseIdleAnswerFlags,
  systemMessage,
} from './answering.ts';
import { newCommand, terminalOf } from './command.ts';
import { checkPagePath, describeExplanation, savePage } from './explanation.ts';
import type { Interrupt } from './interrupt.ts';
import type { Terminal } from './terminal.ts';

interface AskFlags extends AnswerFlags {
  /** true without a file. */
  readonly explain?: string | true;
}

export function addAsk(program: Command, interrupt: Interrupt): void {
  const command = newCommand(program, 'ask [question...]', 'answer a question with the memories of a bank', [
    'ask "How do bees find flowers?"',
    'ask --bank notes --json "How do bees find flowers?" | jq .citations',
    'ask --rag "How do bees find flowers?"   # the same references as text',
    'ask "How do bees find flowers?" --explain why.html   # what each memory was worth, as a page too',
    'echo "How do bees find flowers?" | memory3 ask --temperature 0.7 --seed 1',
  ]);
  command.addOption(
    new Option('--explain [file.html]', 'say which memories the answer rests on, and write it as a page').conflicts([
      'memory',
      'rag',
    ]),
  );
  addAnswerFlags(command).action(async (words: string[], flags: AskFlags) => {
    refuseIdleAnswerFlags(command, flags);
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    const { file, question: asked } = explanationFile(flags, words);
    const question = await readQuestion(asked);
    await using workspace = await openForAnswers(flags, terminal, signal);
    const messages = [...systemMessage(flags), { role: 'user', content: question } as const];
    const { summary, trace } = await printAnswer(workspace, messages, answerOptions(flags), terminal, signal);
    if (flags.explain === undefined) return;
    const explanation = await explain(workspace, trace, terminal, signal);
    terminal.result(explanation, () => describeExplanation(explanation, terminal));
    if (file === undefined) return;
    const model = workspace.file.name;
    savePage(file, explanationPage({ question, answer: summary.text, model, explanation }));
    terminal.notice(`The explanation stands in ${file}.`);
  });
}

/**
 * Where the page goes, and the words of the question: in `ask --explain "How?"` commander takes the question for the file.
 * @throws Memory3Error "usage" if what follows the flag is neither; "disk" if its folder is not there.
 */
function explanationFile({ explain }: AskFlags, words: readonly string[]) {
  if (explain === undefined || explain === true) return { file: undefined, question: words };
  if (/\.html?$/i.test(explain)) {
    checkPagePath(explain);
    return { file: explain, question: words };
  }
  if (words.length === 0) return { file: undefined, question: [explain] };
  throw new Memory3Error('usage', `"${explain}" is no name of an HTML file.`, {
    remedy: 'memory3 ask "How do bees find flowers?" --explain, or --explain why.html',
  });
}

async function explain(
  answerer: Answerer,
  trace: AnswerTrace,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<Explanation> {
  // The explanation compiles a reader of its own; two of them would hold the weights twice.
  await answerer.model.releaseSessions();
  using progress = terminal.progress('explaining');
  return await explainAnswer(answerer, trace, { signal, onProgress: (done, total) => progress.update(done, total) });
}

/** The arguments, else standard input where it is not a terminal. */
async function readQuestion(words: readonly string[]): Promise<string> {
  const question = words.length === 0 && !process.stdin.isTTY ? await text(process.stdin) : words.join(' ');
  if (question.trim() !== '') return question.trim();
  throw new Memory3Error('usage', 'What is the question?', { remedy: 'memory3 ask "How do bees find flowers?"' });
}
