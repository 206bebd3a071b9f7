import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openFamily } from '../../test/support/families.ts';
import { Device } from '../runtime/device.ts';
import { LanguageModel } from './model.ts';

it('a model remembers what it has made, and no failure to make it', async () => {
  using file = await openFamily('llama');
  await using device = new Device({ threads: 1 });
  const model = new LanguageModel(file, device);
  const values = Float32Array.of(1);
  const fails = async () => Promise.reject(new Error('no memory left'));
  await assert.rejects(model.constantKeysValues('opening', 1, fails), /no memory left/);
  assert.equal(await model.constantKeysValues('opening', 1, async () => values), values);
  assert.equal(await model.constantKeysValues('opening', 1, fails), values);
});
