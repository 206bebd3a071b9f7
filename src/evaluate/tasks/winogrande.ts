import { z } from 'zod';
import { fields, lines, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

const evaluated = z.object({
  id: fields.id,
  context_options: z.array(z.string()).nonempty(),
  continuation: z.string(),
  answer: z.int().nonnegative(),
});

/** The training file's form, into the other one's: the sentence up to the gap, filled in each way, and its rest. */
const training = lines.choices.extend({ sentence: fields.text }).transform(({ id, sentence, choices, answer }) => {
  const [before = '', after = ''] = sentence.split('_');
  return { id, context_options: choices.map((one) => `${before}${one}`), continuation: after.trim(), answer };
});

/** WinoGrande: the rest of a sentence is the same, what it is behind differs (Sakaguchi et al. 2019). */
export const winogrande = defineTask({
  ...wordChoices,
  name: 'winogrande',
  file: 'winogrande/dev.jsonl.gz',
  shots: 'winogrande/train_xl.jsonl.gz',
  line: z.union([evaluated, training]),
  form: ({ context_options, continuation, answer }) => ({
    query: `${context_options[0]} ${continuation}`,
    prompts: context_options.map((text) => ({ text, continuations: [` ${continuation}`] })),
    right: [answer],
  }),
});
