/** The default model, opened once for each test file. */

import type { Precision } from '../../src/graph/linear.ts';
import { modelPath } from '../../src/hub/fetch.ts';
import { LanguageModel } from '../../src/memory/model.ts';
import { type ModelFile, openModelFile } from '../../src/model/open.ts';
import { openTokenizer } from '../../src/model/open-tokenizer.ts';
import type { Tokenizer } from '../../src/model/tokenizer.ts';
import { Device } from '../../src/runtime/device.ts';

export interface DefaultModel extends AsyncDisposable {
  readonly tokenizer: Tokenizer;
  readonly file: ModelFile;
  readonly device: Device;
  /** The model at one precision; graphs are compiled when first used. */
  model(precision: Precision): LanguageModel;
}

export async function openDefaultModel(): Promise<DefaultModel> {
  const file = await openModelFile(await modelPath('smollm2-135m-instruct-q4_1'));
  const device = new Device();
  const models = new Map<Precision, LanguageModel>();
  return {
    file,
    tokenizer: openTokenizer(file.tokenizerSource()),
    device,
    model(precision) {
      const model = models.get(precision) ?? new LanguageModel(file, device, { precision });
      models.set(precision, model);
      return model;
    },
    async [Symbol.asyncDispose]() {
      await device[Symbol.asyncDispose]();
      file[Symbol.dispose]();
    },
  };
}
