import { asked, lines, textChoices, textForm } from './forms.ts';
import { defineTask } from './task.ts';

/** ARC, easy questions (Clark et al. 2018). */
export const arcEasy = defineTask({
  ...textChoices,
  name: 'arc_easy',
  file: 'arc_easy/test.jsonl.gz',
  shots: 'arc_easy/train.jsonl.gz',
  line: lines.question,
  form: ({ question, choices, answer }) => textForm(question, asked(question), choices, answer),
});
