/** `memory3 chat`: a conversation; every turn recalls with what was said so far. */
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { Memory3Error } from '../errors.ts';
import type { Message } from '../model/chat-template.ts';
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

export function addChat(program: Command, interrupt: Interrupt): void {
  const command = newCommand(program, 'chat', 'a conversation with the memories of a bank; one line, one message', [
    'chat --bank notes',
    'chat --json < messages.txt',
  ]);
  addAnswerFlags(command).action(async (flags: AnswerFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    await using workspace = await openForAnswers(flags, terminal, signal);
    let history: Message[] = systemMessage(flags);
    const interactive = process.stdin.isTTY === true;
    if (interactive) terminal.notice('/new begins a new conversation, Ctrl+D ends.');
    using lines = createInterface({
      input: process.stdin,
      output: process.stderr,
      terminal: interactive,
      prompt: '> ',
    });
    // Readline takes Ctrl+C from the terminal; it means here what it means everywhere.
    lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    signal.addEventListener('abort', () => lines.close());
    if (interactive) lines.prompt();
    for await (const line of lines) {
      if (line.trim() === '/new') {
        history = systemMessage(flags);
      } else if (line.trim() !== '') {
        const messages: Message[] = [...history, { role: 'user', content: line }];
        const { summary } = await printAnswer(workspace, messages, answerOptions(flags), terminal, signal).catch(
          explainLength,
        );
        history = [...messages, { role: 'assistant', content: summary.text }];
      }
      if (interactive) lines.prompt();
    }
  });
}

/** A conversation that has become too long: nothing is cut from it in silence. */
function explainLength(error: unknown): never {
  if (!(error instanceof Memory3Error) || error.code !== 'too-long') throw error;
  throw new Memory3Error('too-long', error.message, { remedy: 'Begin a new conversation with /new.', cause: error });
}
