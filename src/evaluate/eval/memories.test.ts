/** Memories of several modes, of a tiny model. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openEvaluated } from '../../../test/support/evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { parseMemory } from '../../memory/format.ts';
import { writeMemories } from '../../memory/writer.ts';
import { EvaluationMemories } from './memories.ts';
import { type Mode, parseModes } from './modes.ts';

let folder: TemporaryFolder;
let evaluated: Awaited<ReturnType<typeof openEvaluated>>;
before(async () => {
  folder = temporaryFolder();
  evaluated = await openEvaluated(folder.path);
});
after(async () => {
  await evaluated[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

describe('the memories of an evaluation', () => {
  it('are those that each mode alone would have, whichever mode had a reference read first', async () => {
    const { model, profile, bank, repeatPrompt } = evaluated;
    const modes = parseModes('memory:1,memory:1:kept=2,memory:gold:1', 1) as [Mode, Mode, Mode];
    const passage = { id: null, text: 'A passage.', tokens: [5, 6, 7, 8, 9, 10, 11] };
    const expected = async (mode: Mode) => {
      const own = { ...profile, ...mode.profile };
      return (await writeMemories(model, own, [passage], repeatPrompt)).map(parseMemory);
    };
    for (const order of [modes, modes.toReversed()]) {
      const memories = new EvaluationMemories({ model, profile, modes, bank, repeatPrompt });
      for (const mode of order) assert.deepEqual(await memories.load(mode, [passage]), await expected(mode));
    }
  });

  it('of a passage of one token are not those of the reference whose number that is', async () => {
    const { model, profile, bank, repeatPrompt } = evaluated;
    const modes = parseModes('memory:1:kept=2,memory:gold:1', 1) as [Mode, Mode];
    const { id, text, tokens } = bank.reference(5);
    const memories = new EvaluationMemories({ model, profile, modes, bank, repeatPrompt });
    await memories.load(modes[1], [{ id: null, text: 'A passage.', tokens: [id] }]);
    const reference = { id, text, tokens };
    const own = { ...profile, ...modes[0].profile };
    const expected = (await writeMemories(model, own, [reference], repeatPrompt)).map(parseMemory);
    assert.deepEqual(await memories.load(modes[0], [reference]), expected);
  });

  it('go into the bank where they are of its profile', async () => {
    const { model, profile, bank, repeatPrompt } = evaluated;
    const { id, text, tokens } = bank.reference(1);
    assert.equal(bank.memory(id), undefined);
    const modes = parseModes('memory:1:kept=2,memory:1', 1) as [Mode, Mode];
    const memories = new EvaluationMemories({ model, profile, modes, bank, repeatPrompt });
    const reference = { id, text, tokens };
    for (const mode of modes) await memories.load(mode, [reference]);
    const [own] = await writeMemories(model, profile, [reference], repeatPrompt);
    assert.deepEqual(bank.memory(id), own);
  });
});
