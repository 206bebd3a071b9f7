/**
 * Evaluates a tiny model into a folder: the process that gets killed. Says on stdout after each batch how far it is.
 *
 *   node test/crash/evaluate.ts <parts: model and bank> <data> <folder>
 */
import { writeSync } from 'node:fs';
import { evaluate } from '../../src/evaluate/eval/evaluate.ts';
import { parseModes } from '../../src/evaluate/eval/modes.ts';
import { openEvaluated } from '../support/evaluation.ts';

export async function evaluateInFolder(
  parts: string,
  data: string,
  folder: string,
  onBatch: (done: number) => void = () => {},
): Promise<void> {
  await using evaluated = await openEvaluated(parts);
  const modes = parseModes('none,memory:2,rag:1', 2);
  for await (const event of evaluate(evaluated, {
    folder,
    data,
    tasks: ['arc_easy', 'squad', 'wikitext2'],
    modes,
    shots: 1,
  })) {
    if (event.kind === 'batch') onBatch(event.done);
  }
}

if (import.meta.main) {
  const [parts, data, folder] = process.argv.slice(2) as [string, string, string];
  await evaluateInFolder(parts, data, folder, (done) => writeSync(1, `${done}\n`));
}
