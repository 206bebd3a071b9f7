/** `memory3 ask`: one question, one answer. */
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { Memory3Error } from '../errors.ts';
import {
  type AnswerFlags,
  addAnswerFlags,
  answerOptions,
  openForAnswers,
  printAnswer,
  systemMessage,
} from './answering.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';

export function addAsk(program: Command, interrupt: Interrupt): void {
  const command = newCommand(program, 'ask [question...]', 'answer a question with the memories of a bank', [
    'ask "How do bees find flowers?"',
    'ask --bank notes --json "How do bees find flowers?" | jq .citations',
    'ask --rag "How do bees find flowers?"   # the same references as text',
    'echo "How do bees find flowers?" | memory3 ask --temperature 0.7 --seed 1',
  ]);
  addAnswerFlags(command).action(async (words: string[], flags: AnswerFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    const question = await readQuestion(words);
    await using workspace = await openForAnswers(flags, terminal, signal);
    const messages = [...systemMessage(flags), { role: 'user', content: question } as const];
    await printAnswer(workspace, messages, answerOptions(flags), terminal, signal);
  });
}

/** The arguments, else standard input where it is not a terminal. */
async function readQuestion(words: readonly string[]): Promise<string> {
  const question = words.length === 0 && !process.stdin.isTTY ? await text(process.stdin) : words.join(' ');
  if (question.trim() !== '') return question.trim();
  throw new Memory3Error('usage', 'What is the question?', { remedy: 'memory3 ask "How do bees find flowers?"' });
}
