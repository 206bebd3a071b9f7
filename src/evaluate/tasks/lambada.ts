import { z } from 'zod';
import { fields } from './forms.ts';
import { defineTask } from './task.ts';

/** LAMBADA: the last word of a passage (Paperno et al. 2016). */
export const lambada = defineTask({
  name: 'lambada',
  kind: 'continuation',
  file: 'lambada/openai_test.jsonl.gz',
  shots: 'own',
  metrics: ['accuracy', 'perplexity'],
  line: z.object({ id: fields.id, context: z.string(), continuation: z.string() }),
  form: ({ context, continuation }) => ({ query: context, prompt: context, continuation: ` ${continuation}` }),
});
