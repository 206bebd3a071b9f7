import { asked, lines, textChoices, textForm } from './forms.ts';
import { defineTask } from './task.ts';

/** ARC, questions that searching and word statistics fail at (Clark et al. 2018). */
export const arcChallenge = defineTask({
  ...textChoices,
  name: 'arc_challenge',
  file: 'arc_challenge/test.jsonl.gz',
  shots: 'arc_challenge/train.jsonl.gz',
  line: lines.question,
  form: ({ question, choices, answer }) => textForm(question, asked(question), choices, answer),
});
