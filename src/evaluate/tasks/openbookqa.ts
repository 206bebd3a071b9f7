import { lines, textChoices, textForm } from './forms.ts';
import { defineTask } from './task.ts';

/** OpenBookQA: the question is often the beginning of a sentence (Mihaylov et al. 2018). */
export const openbookqa = defineTask({
  ...textChoices,
  name: 'openbookqa',
  file: 'openbookqa/test.jsonl.gz',
  shots: 'openbookqa/train.jsonl.gz',
  line: lines.question,
  form: ({ question, choices, answer }) => textForm(question, question, choices, answer),
});
