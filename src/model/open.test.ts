import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type GgufParts, ggufBytes, integerField, textField, valueType } from '../../test/support/gguf-bytes.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { type ErrorCode, Memory3Error } from '../errors.ts';
import { expectedTensors } from './expected-tensors.ts';
import { openModelFile } from './open.ts';
import { toDense } from './quantised.ts';

/** Tiny random models made with Hugging Face transformers; see test/golden/README.md. */
const families = fileURLToPath(new URL('../../test/golden/families', import.meta.url));
const names = readdirSync(families);

interface Expected {
  readonly inverseFrequencies: readonly number[];
  readonly attentionScale: number;
}

for (const name of names) {
  describe(name, () => {
    const folder = join(families, name);
    const ggufPath = join(folder, 'model.gguf');
    const expected: Expected = JSON.parse(readFileSync(join(folder, 'logits.json'), 'utf8'));

    test('opens, with the frequencies that transformers computes', async () => {
      using model = await openModelFile(folder);
      const { rope, headDim } = model.config;
      assert.equal(rope.inverseFrequencies.length, headDim / 2);
      checkFrequencies(rope.inverseFrequencies, expected);
      assert.ok(Math.abs(rope.attentionScale - expected.attentionScale) < 1e-12);
      assert.equal(model.chatTemplate?.startsWith('{{ bos_token }}'), true);
    });

    if (!existsSync(ggufPath)) return; // Written for five of them.
    test('the GGUF file holds the same model', async () => {
      using model = await openModelFile(folder);
      using gguf = await openModelFile(ggufPath);
      const { rope, architecture, normEpsilon, ...rest } = model.config;
      const { rope: ggufRope, architecture: ggufArchitecture, normEpsilon: ggufEpsilon, ...ggufRest } = gguf.config;
      assert.deepEqual(ggufRest, rest);
      assert.equal(ggufArchitecture, architecture === 'mistral' ? 'llama' : architecture);
      assert.ok(Math.abs(ggufEpsilon / normEpsilon - 1) < 1e-6);
      checkFrequencies(ggufRope.inverseFrequencies, expected);
      assert.ok(Math.abs(ggufRope.attentionScale - rope.attentionScale) < 1e-6);
      assert.deepEqual(gguf.weights.names, model.weights.names);
      for (const weight of model.weights.names) {
        assert.deepEqual(toDense(gguf.weights.get(weight)), toDense(model.weights.get(weight)), weight);
      }
    });
  });
}

function checkFrequencies(actual: Float64Array, { inverseFrequencies }: Expected): void {
  inverseFrequencies.forEach((frequency, i) => {
    assert.ok(Math.abs((actual[i] as number) / frequency - 1) < 1e-6, `${i}: ${actual[i]}, expected ${frequency}`);
  });
}

test('what distinguishes the families is read', async () => {
  const config = async (name: string) => {
    using model = await openModelFile(join(families, name));
    return model.config;
  };
  const llama = await config('llama');
  assert.deepEqual(
    [
      llama.architecture,
      llama.heads,
      llama.kvHeads,
      llama.headDim,
      llama.tiedHead,
      llama.attentionBias,
      llama.slidingWindow,
    ],
    ['llama', 4, 2, 12, true, false, null],
  );
  assert.equal((await config('llama-llama3')).tiedHead, false);
  assert.equal((await config('llama-linear')).headDim, 24);
  assert.equal((await config('mistral')).slidingWindow, null);
  assert.equal((await config('mistral-window')).slidingWindow, 8);
  assert.equal((await config('qwen2')).attentionBias, true);
  const qwen3 = await config('qwen3');
  assert.deepEqual(
    [qwen3.queryKeyNorm, qwen3.attentionBias, qwen3.headDim, qwen3.heads, qwen3.hiddenSize],
    [true, false, 24, 4, 48],
  );
});

test('the fingerprint is the content: of a GGUF file its sha256, of a folder every file counts', async () => {
  const path = join(families, 'qwen2/model.gguf');
  using gguf = await openModelFile(path);
  assert.equal(await gguf.fingerprint(), createHash('sha256').update(readFileSync(path)).digest('hex'));

  using folder = copyOf('llama-llama3');
  using before = await openModelFile(folder.path);
  const fingerprint = await before.fingerprint();
  for (const name of readdirSync(folder.path).filter((one) => !/gguf$|logits|index/.test(one))) {
    const content = readFileSync(join(folder.path, name));
    // The last byte of weights, a space after JSON: the model still opens.
    const last = content.length - 1;
    folder.write(
      name,
      name.endsWith('.safetensors') ? content.with(last, (content[last] as number) ^ 1) : `${content} `,
    );
    using after = await openModelFile(folder.path);
    assert.notEqual(await after.fingerprint(), fingerprint, name);
    folder.write(name, content);
  }
  using again = await openModelFile(folder.path);
  assert.equal(await again.fingerprint(), fingerprint);
});

function copyOf(name: string): ReturnType<typeof temporaryFolder> {
  const folder = temporaryFolder();
  cpSync(join(families, name), folder.path, { recursive: true });
  return folder;
}

test('tokenizer files are handed over', async () => {
  using model = await openModelFile(join(families, 'llama'));
  const source = model.tokenizerSource();
  assert.ok(source.kind === 'json');
  assert.equal((source.tokenizer as { version: string }).version, '1.0');
  assert.equal((source.config as { bos_token: string }).bos_token, '<|bos|>');
  using gguf = await openModelFile(join(families, 'qwen2/model.gguf'));
  const ggufSource = gguf.tokenizerSource();
  assert.ok(ggufSource.kind === 'gguf');
  assert.equal((ggufSource.metadata.get('tokenizer.ggml.tokens') as string[]).length, 128);
});

/** Opens the copy of a family after `change` and expects an error. */
async function refused(
  name: string,
  change: (folder: string) => void,
  code: ErrorCode,
  message: RegExp,
): Promise<void> {
  using folder = copyOf(name);
  change(folder.path);
  await assert.rejects(openModelFile(folder.path), isError(code, message));
}

function isError(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Memory3Error, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

function editJson(folder: string, file: string, change: (json: Record<string, unknown>) => void): void {
  const path = join(folder, file);
  const json = JSON.parse(readFileSync(path, 'utf8'));
  change(json);
  writeFileSync(path, JSON.stringify(json));
}

const configFaults: readonly (readonly [
  name: string,
  change: Record<string, unknown>,
  code: ErrorCode,
  message: RegExp,
])[] = [
  ['llama', { model_type: 'gemma' }, 'unsupported', /"gemma"; supported are llama, mistral, qwen2, qwen3/],
  ['llama', { model_type: undefined }, 'unsupported', /none named/],
  ['llama', { hidden_size: 'many' }, 'damaged', /config\.json is damaged: "hidden_size"/],
  ['llama', { num_hidden_layers: 1e9 }, 'damaged', /layers is 1000000000/],
  ['llama', { num_key_value_heads: 3 }, 'damaged', /4 query heads cannot share 3/],
  ['llama', { num_attention_heads: 16, num_key_value_heads: 2, head_dim: 3 }, 'damaged', /head dimension 3 is odd/],
  [
    'llama',
    { num_hidden_layers: 3 },
    'damaged',
    /lacks tensors "model\.layers\.2\.input_layernorm\.weight".* and 4 more/,
  ],
  ['llama', { num_hidden_layers: 1 }, 'unsupported', /holds tensors "model\.layers\.1\./],
  [
    'llama',
    { vocab_size: 129 },
    'damaged',
    /"model\.embed_tokens\.weight" has the shape \[128,48\]; the configuration says \[129,48\]/,
  ],
  ['llama', { tie_word_embeddings: false }, 'damaged', /lacks tensor "lm_head\.weight"/],
  ['llama', { hidden_act: 'gelu' }, 'unsupported', /activation "gelu"/],
  ['llama', { quantization_config: { bits: 4 } }, 'unsupported', /quantised safetensors/],
  ['llama', { rope_parameters: { rope_type: 'longrope', rope_theta: 1e4 } }, 'unsupported', /RoPE scaling "longrope"/],
  ['llama', { rope_parameters: { rope_type: 'linear', rope_theta: 1e4 } }, 'damaged', /"linear" without "factor"/],
  [
    'llama',
    { rope_parameters: { rope_type: 'linear', rope_theta: 1e4, factor: 1e-320 } },
    'damaged',
    /config\.json: what it says about RoPE makes a frequency or scale of Infinity/,
  ],
  ['llama', { rope_parameters: { rope_theta: 1e4, partial_rotary_factor: 0.5 } }, 'unsupported', /a part of 0\.5/],
  [
    'qwen2',
    { use_sliding_window: true, sliding_window: 8, max_window_layers: 1, layer_types: null },
    'unsupported',
    /window in 1 of 2 layers/,
  ],
  ['mistral', { attention_bias: true }, 'damaged', /lacks tensors "model\.layers\.0\.self_attn\.q_proj\.bias"/],
];

for (const [name, change, code, message] of configFaults) {
  test(`refuses ${name} with ${JSON.stringify(change)}`, () =>
    refused(name, (folder) => editJson(folder, 'config.json', (json) => Object.assign(json, change)), code, message));
}

test('one file of several is no model, and said to be so', async () => {
  const shard = join(families, 'llama-llama3', 'model-00002-of-00005.safetensors');
  await assert.rejects(openModelFile(shard), {
    code: 'usage',
    message: /one of the 5 files of a model\.\nName their folder/,
  });
});

test('a folder whose files do not belong together is refused', async () => {
  const index = 'model.safetensors.index.json';
  const shard = 'model-00002-of-00005.safetensors';
  const mapped = (change: (map: Record<string, string>) => void) => (folder: string) =>
    editJson(folder, index, (json) => change(json.weight_map as Record<string, string>));
  await refused('llama-llama3', (folder) => rmSync(join(folder, shard)), 'not-found', /model-00002-of-00005/);
  const unlist = (name: string) => mapped((map) => Reflect.deleteProperty(map, name));
  await refused('llama-llama3', unlist('lm_head.weight'), 'damaged', /lacks tensor "lm_head\.weight"/);
  await refused('llama-llama3', unlist('model.norm.weight'), 'damaged', /holds tensor "model\.norm\.weight", which/);
  await refused(
    'llama-llama3',
    mapped((map) => Object.assign(map, { extra: shard })),
    'damaged',
    /lacks tensor "extra"/,
  );
  await refused(
    'llama-llama3',
    mapped((map) => Object.assign(map, { 'model.norm.weight': shard })),
    'damaged',
    /lacks tensor "model\.norm\.weight"|holds tensor "model\.norm\.weight"/,
  );
  await refused(
    'llama-llama3',
    mapped((map) => Object.assign(map, { x: '../x.safetensors' })),
    'damaged',
    /no plain file name/,
  );
  await refused('llama', (folder) => rmSync(join(folder, 'config.json')), 'not-found', /no config\.json/);
  await refused(
    'llama',
    (folder) => writeFileSync(join(folder, 'config.json'), '{"model_type":1,"model_type":2}'),
    'damaged',
    /"model_type" stands there twice/,
  );
});

/** A GGUF file of a tiny Llama with all weights 0, changed by the test. */
function tinyGguf(
  change: {
    readonly fields?: GgufParts['fields'];
    readonly type?: number;
    readonly without?: string;
    readonly extra?: string;
  } = {},
): Uint8Array {
  const fields = new Map(
    [
      textField('general.architecture', 'llama'),
      integerField('llama.block_count', 1),
      integerField('llama.embedding_length', 8),
      integerField('llama.feed_forward_length', 8),
      integerField('llama.attention.head_count', 2),
      integerField('llama.context_length', 64),
      { key: 'llama.attention.layer_norm_rms_epsilon', type: 6, bytes: new Uint8Array(Float32Array.of(1e-5).buffer) },
      ...(change.fields ?? []),
    ].map((field) => [field.key, field]),
  );
  const layer = ['attn_norm', 'ffn_norm'].map((name) => [`blk.0.${name}.weight`, [8]] as const);
  const matrices = ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down'];
  const shapes: (readonly [string, readonly number[]])[] = [
    ['token_embd.weight', [16, 8]],
    ...layer,
    ...matrices.map((name) => [`blk.0.${name}.weight`, [8, 8]] as const),
    ['output_norm.weight', [8]],
    ...(change.extra === undefined ? [] : [[change.extra, [8]] as const]),
  ];
  const tensors = shapes
    .filter(([name]) => name !== change.without)
    .map(([name, shape], i) => ({
      name,
      shape,
      type: name.includes('attn_q') ? (change.type ?? 0) : 0,
      offset: i * 512,
    }));
  return ggufBytes({ fields: [...fields.values()], tensors, data: new Uint8Array(tensors.length * 512) });
}

const ggufFaults: readonly (readonly [what: string, bytes: Uint8Array, code: ErrorCode, message: RegExp])[] = [
  [
    'another architecture',
    tinyGguf({ fields: [textField('general.architecture', 'gemma3')] }),
    'unsupported',
    /"gemma3"; supported are llama, qwen2, qwen3/,
  ],
  ['no architecture', ggufBytes({}), 'damaged', /"general\.architecture" is missing/],
  [
    'a mixture of experts',
    tinyGguf({ fields: [integerField('llama.expert_count', 8)] }),
    'unsupported',
    /mixture of experts/,
  ],
  ['a part of a model', tinyGguf({ fields: [integerField('split.count', 2)] }), 'unsupported', /one of 2 parts/],
  [
    'a tensor type that is not decoded',
    tinyGguf({ type: 28 }),
    'unsupported',
    /"blk\.0\.attn_q\.weight" has the type F64; supported are/,
  ],
  [
    'a missing tensor',
    tinyGguf({ without: 'blk.0.ffn_up.weight' }),
    'damaged',
    /lacks tensor "blk\.0\.ffn_up\.weight"/,
  ],
  [
    'a tensor too many',
    tinyGguf({ extra: 'blk.0.attn_output.bias' }),
    'unsupported',
    /"blk\.0\.attn_output\.bias", which no supported llama/,
  ],
  ['absurd layers', tinyGguf({ fields: [integerField('llama.block_count', 4e9)] }), 'damaged', /layers is 4000000000/],
  [
    'heads of half a dimension',
    tinyGguf({ fields: [integerField('llama.attention.head_count', 16)] }),
    'damaged',
    /16 heads do not divide hidden vectors of 8/,
  ],
  [
    'no heads',
    tinyGguf({ fields: [integerField('llama.attention.head_count', 0)] }),
    'damaged',
    /0 heads do not divide/,
  ],
  [
    'a key of another type',
    tinyGguf({ fields: [textField('llama.context_length', 'long')] }),
    'damaged',
    /"llama\.context_length" is "long", not a number/,
  ],
  [
    'partial rotation',
    tinyGguf({ fields: [integerField('llama.rope.dimension_count', 2)] }),
    'unsupported',
    /2 rotated dimensions/,
  ],
  [
    'unknown scaling',
    tinyGguf({ fields: [textField('llama.rope.scaling.type', 'longrope')] }),
    'unsupported',
    /RoPE scaling "longrope"/,
  ],
  [
    'a context before its scaling of less than no tokens',
    tinyGguf({
      fields: [
        textField('llama.rope.scaling.type', 'yarn'),
        integerField('llama.rope.scaling.factor', 4),
        {
          key: 'llama.rope.scaling.original_context_length',
          type: valueType.i32,
          bytes: new Uint8Array(Int32Array.of(-1).buffer),
        },
      ],
    }),
    'damaged',
    /model\.gguf: what it says about RoPE makes a frequency or scale of NaN/,
  ],
];

for (const [what, bytes, code, message] of ggufFaults) {
  test(`refuses a GGUF file with ${what}`, async () => {
    using folder = temporaryFolder();
    await assert.rejects(openModelFile(folder.write('model.gguf', bytes)), isError(code, message));
  });
}

test('the tiny GGUF file itself opens', async () => {
  using folder = temporaryFolder();
  using model = await openModelFile(folder.write('tiny.gguf', tinyGguf()));
  assert.equal(model.name, 'tiny');
  assert.deepEqual([...model.weights.names], [...expectedTensors(model.config).keys()]);
  assert.throws(() => model.weights.get('lm_head.weight'), isError('damaged', /no tensor for lm_head/));
});

test('an empty chat template is none', async () => {
  using folder = temporaryFolder();
  for (const template of ['', ' \n']) {
    const bytes = tinyGguf({ fields: [textField('tokenizer.chat_template', template)] });
    using model = await openModelFile(folder.write('tiny.gguf', bytes));
    assert.equal(model.chatTemplate, null);
  }
  using copy = copyOf('llama');
  writeFileSync(join(copy.path, 'chat_template.jinja'), '');
  using model = await openModelFile(copy.path);
  assert.equal(model.chatTemplate, null);
});

test('a path that is no model is refused', async () => {
  using folder = temporaryFolder();
  await assert.rejects(openModelFile(join(folder.path, 'none')), isError('not-found', /none/));
  await assert.rejects(
    openModelFile(folder.write('x.txt', 'hello')),
    isError('unsupported', /neither a GGUF nor a safetensors/),
  );
  folder.write('m.gguf', tinyGguf());
  await assert.rejects(
    openModelFile(folder.path),
    isError('not-found', new RegExp(`${basename(folder.path)}.m\\.gguf`)),
  );
});
