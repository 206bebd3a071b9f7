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
  refuseIdleAnswerFlags,
  systemMessage,
} from './answering.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';

export function addChat(program: Command, interrupt: Interrupt): void {
  const command = newCommand(
    program,
    'chat',
    'a conversation with the memories of a bank; one line, one message; a line "/new" begins a new conversation',
    ['chat --bank notes', 'chat --json < messages.txt   # ends at a message that does not fit, with exit code 9'],
  );
  addAnswerFlags(command).action(async (flags: AnswerFlags) => {
    refuseIdleAnswerFlags(command, flags);
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    await using workspace = await openForAnswers(flags, terminal, signal);
    const beginning = systemMessage(flags);
    let history: readonly Message[] = beginning;
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
      history = await takeLine(line, history, {
        beginning,
        reply: async (messages) =>
          (await printAnswer(workspace, messages, answerOptions(flags), terminal, signal)).summary.text,
        ...(interactive && { onTooLong: (message) => terminal.notice(message) }),
      });
      if (interactive) lines.prompt();
    }
  });
}

export interface Conversation {
  /** What stands before the first message. */
  readonly beginning: readonly Message[];
  /** Answers the last message. */
  readonly reply: (messages: readonly Message[]) => Promise<string>;
  /** Told why a message does not fit; the conversation goes on without it. Where nobody is told, that is an error. */
  readonly onTooLong?: (message: string) => void;
}

/**
 * A line of a conversation: a message, "/new", or nothing. @returns the conversation after it.
 * @throws Memory3Error "too-long" if it does not fit, since nothing is cut from a conversation in silence.
 */
export async function takeLine(
  line: string,
  history: readonly Message[],
  { beginning, reply, onTooLong }: Conversation,
): Promise<readonly Message[]> {
  if (line.trim() === '/new') return beginning;
  if (line.trim() === '') return history;
  const messages: Message[] = [...history, { role: 'user', content: line }];
  try {
    return [...messages, { role: 'assistant', content: await reply(messages) }];
  } catch (cause) {
    if (!(cause instanceof Memory3Error) || cause.code !== 'too-long') throw cause;
    const remedy = 'Or begin a new conversation with the line /new.';
    const error = new Memory3Error('too-long', cause.message, { remedy, cause });
    if (onTooLong === undefined) throw error;
    onTooLong(`${error.message}\nThis one goes on without the message.`);
    return history;
  }
}
