/**
 * Arrays under training in a device: their values, their gradients and AdamW's moments (`graph/adamw.ts`). Gradients of
 * several runs are added up there by whoever computes them; an update uses them and clears them.
 */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { type AdamOptions, adamNames, adamNumbers, buildAdamW } from '../graph/adamw.ts';
import { writeOnnx } from '../graph/onnx.ts';
import type { TensorToWrite } from '../model/safetensors-writer.ts';
import type { Device, StateArray } from '../runtime/device.ts';
import type { TrainingState } from './trainable.ts';

export interface OptimiserOptions extends AdamOptions {
  /** Weight decay. */
  readonly decay: number;
  /** Whether vectors (norms, biases) decay too. */
  readonly decayVectors: boolean;
  /** Longest whole gradient. */
  readonly clip: number;
}

export interface TrainedArray {
  readonly name: string;
  readonly shape: readonly number[];
}

type Part = 'weights' | 'gradients' | 'mean' | 'square';

/** Close it with `await using`; it does not own the device. */
export class Optimiser implements AsyncDisposable {
  /** Names and shapes of what is trained. */
  readonly trained: readonly TrainedArray[];
  readonly #device: Device;
  readonly #options: OptimiserOptions;
  /** Handles of the device's states. */
  #states: Readonly<Record<Part, number>>;
  #session: Promise<number> | undefined;
  /** Updates so far. */
  #updates = 0;

  private constructor(
    device: Device,
    trained: readonly TrainedArray[],
    states: Readonly<Record<Part, number>>,
    options: OptimiserOptions,
  ) {
    this.#device = device;
    this.trained = trained;
    this.#states = states;
    this.#options = options;
  }

  /** @param arrays what is trained, and what it begins with */
  static async open(device: Device, arrays: readonly Required<StateArray>[], options: OptimiserOptions) {
    const zeros = arrays.map(({ name, shape }) => ({ name, shape }));
    const states = {
      weights: await device.state(arrays),
      gradients: await device.state(zeros),
      mean: await device.state(zeros),
      square: await device.state(zeros),
    };
    return new Optimiser(device, zeros, states, options);
  }

  /** State of the device whose arrays are the values. */
  get weights(): number {
    return this.#states.weights;
  }

  /** State of the device to whose arrays gradients are added. */
  get gradients(): number {
    return this.#states.gradients;
  }

  /**
   * One update by the gradients since the last one.
   * @param weight what they are divided by
   * @returns the mean gradient's length before it was clipped.
   */
  async update(rate: number, weight: number): Promise<number> {
    const { weights, gradients, mean, square } = this.#states;
    const { clip, decay, decayVectors } = this.#options;
    const norm = Math.sqrt(await this.#device.sumOfSquares(gradients)) / weight;
    const scale = (norm > clip ? clip / norm : 1) / weight;
    this.#session ??= this.#device.session(writeOnnx(buildAdamW(this.#options)));
    const session = await this.#session;
    this.#updates++;
    for (const vectors of [false, true]) {
      const own = { t: this.#updates, rate, decay: vectors && !decayVectors ? 0 : decay, scale };
      const numbers = Object.entries(adamNumbers(this.#options, own)).map(([name, value]) => [
        name,
        { type: 'float32', shape: [1], data: Float32Array.of(value) },
      ]);
      await this.#device.sweep({
        session,
        inputs: Object.fromEntries(numbers),
        names: this.trained.filter(({ shape }) => (shape.length === 1) === vectors).map(({ name }) => name),
        feeds: {
          [adamNames.weights]: weights,
          [adamNames.gradients]: gradients,
          [adamNames.mean]: mean,
          [adamNames.square]: square,
        },
        outputs: { [adamNames.newWeights]: weights, [adamNames.newMean]: mean, [adamNames.newSquare]: square },
      });
    }
    await this.#device.clear(gradients);
    return norm;
  }

  /** Copies of the values, the gradients or the moments, by name. */
  async read(part: Part): Promise<Map<string, TensorToWrite>> {
    const names = this.trained.map(({ name }) => name);
    const data = await this.#device.read(this.#states[part], names);
    return new Map(this.trained.map(({ name, shape }, i) => [name, { shape, data: data[i] as Float32Array }]));
  }

  /** What `restore` needs: values, moments, the number of updates. Between two steps only. */
  async state(): Promise<TrainingState> {
    const tensors = new Map<string, TensorToWrite>();
    for (const part of ['weights', 'mean', 'square'] as const) {
      for (const [name, tensor] of await this.read(part)) tensors.set(`${part}:${name}`, tensor);
    }
    return { tensors, values: { updates: this.#updates } };
  }

  /** @throws Memory3Error "damaged" if the state lacks something or is of another shape. */
  async restore({ tensors, values }: TrainingState): Promise<void> {
    const updates = z.int().nonnegative().safeParse(values.updates);
    if (!updates.success) throw new Memory3Error('damaged', 'The state of a training has no number of updates.');
    const arrays = (part: string) =>
      this.trained.map(({ name, shape }) => {
        const tensor = tensors.get(`${part}:${name}`);
        if (tensor === undefined || tensor.shape.join() !== shape.join()) {
          throw new Memory3Error('damaged', `The state of a training has no ${part} of "${name}" [${shape}].`);
        }
        return { name, shape, data: tensor.data.slice() };
      });
    const [weights, mean, square] = [arrays('weights'), arrays('mean'), arrays('square')];
    const old = this.#states;
    for (const handle of [old.weights, old.mean, old.square]) await this.#device.release(handle);
    this.#states = {
      ...old,
      weights: await this.#device.state(weights),
      mean: await this.#device.state(mean),
      square: await this.#device.state(square),
    };
    await this.#device.clear(old.gradients);
    this.#updates = updates.data;
  }

  /** Frees the graph and the arrays. */
  async [Symbol.asyncDispose](): Promise<void> {
    // One that could not be compiled was told where it was wanted, and is not to hide that error behind another.
    const [session] = await Promise.allSettled(this.#session === undefined ? [] : [this.#session]);
    if (session?.status === 'fulfilled') await this.#device.release(session.value);
    for (const state of Object.values(this.#states)) await this.#device.release(state);
  }
}
