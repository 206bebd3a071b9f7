import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory3Error } from '../errors.ts';
import type { Message } from '../model/chat-template.ts';
import { takeLine } from './chat.ts';

const beginning: readonly Message[] = [{ role: 'system', content: 'Be kind.' }];

/** Five messages fit. */
async function reply(messages: readonly Message[]): Promise<string> {
  if (messages.length <= 5) return `answer to ${messages.at(-1)?.content}`;
  throw new Memory3Error('too-long', 'The prompt has 6 messages.', { remedy: 'Shorten it.' });
}

test('a conversation that outgrows the context goes on for a person: without that message, or with /new', async () => {
  const told: string[] = [];
  const conversation = { beginning, reply, onTooLong: (message: string) => told.push(message) };
  let history = beginning;
  for (const line of ['one', '', 'two']) history = await takeLine(line, history, conversation);
  assert.deepEqual(
    history.map(({ content }) => content),
    ['Be kind.', 'one', 'answer to one', 'two', 'answer to two'],
  );
  assert.equal(await takeLine('three', history, conversation), history);
  assert.match(told.join(), /^The prompt has 6 messages\.\nShorten it\.\nOr begin .* \/new/);
  assert.deepEqual(await takeLine('/new', history, conversation), beginning);
});

test('where nobody is told, it ends; other errors end it always', async () => {
  const history: readonly Message[] = new Array<Message>(5).fill({ role: 'user', content: 'x' });
  await assert.rejects(takeLine('more', history, { beginning, reply }), { code: 'too-long', message: /\/new/ });
  const broken = () => Promise.reject(new Memory3Error('disk', 'no space'));
  const conversation = { beginning, reply: broken, onTooLong: () => assert.fail() };
  await assert.rejects(takeLine('more', [], conversation), { code: 'disk' });
});
