/** The project's questions, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  categories,
  categoriesWithReference,
  checkQuestions,
  type DialogueQuestion,
  dialogueQuestions,
  firstQuestions,
} from './questions.ts';

test('three questions of two turns for each category, in which no text is there twice', () => {
  const questions = dialogueQuestions();
  for (const category of categories) {
    const own = questions.filter((question) => question.category === category);
    assert.equal(own.length, 3, category);
    const references = own.flatMap(({ turns }) => turns).filter(({ reference }) => reference !== undefined);
    assert.equal(references.length, categoriesWithReference.includes(category) ? 6 : 0, category);
  }
  const texts = questions.flatMap(({ turns }) => turns.map(({ text }) => text));
  assert.equal(new Set(texts).size, 48);
});

test('a part of them has as many categories as can be', () => {
  const questions = dialogueQuestions();
  const ids = (limit: number) => firstQuestions(questions, limit).map(({ id }) => id);
  assert.deepEqual(ids(3), ['writing-1', 'roleplay-1', 'reasoning-1']);
  assert.deepEqual(ids(9).slice(7), ['humanities-1', 'writing-2']);
  assert.equal(new Set(ids(100)).size, 24);
});

test('questions that are not sound are refused with what is wrong', () => {
  const one: DialogueQuestion = { id: 'a', category: 'stem', turns: [{ text: 'Why?' }, { text: 'How?' }] };
  const refused = (questions: unknown, message: RegExp) =>
    assert.throws(() => checkQuestions(questions), { code: 'damaged', message });
  assert.deepEqual(checkQuestions([one]), [one]);
  refused([], /Too small/);
  refused([one, one], /a is there twice/);
  refused([{ ...one, category: 'math' }], /a lacks a reference/);
  refused([{ ...one, category: 'sports' }], /\[0\]\.category/);
  refused([{ ...one, turns: [{ text: 'Why?' }] }], /\[0\]\.turns/);
  refused([{ ...one, turns: [{ text: ' ' }, { text: 'How?' }] }], /\[0\]\.turns\[0\]\.text/);
});
