import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededRandom } from '../../generate/sampling.ts';
import { type LabelledFeatures, probability, trainLogistic } from './logistic.ts';

/** Points whose side of the line 2 x - y = 1 decides; a third place is noise, and zero is left out. */
function examples(count: number, seed: number): LabelledFeatures[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const [x, y, noise] = [4 * random() - 2, 4 * random() - 2, random() - 0.5];
    const at = random() < 0.5 ? [0, 1] : [0, 1, 2];
    return {
      features: { at: Uint16Array.from(at), values: Float32Array.from([x, y, noise].slice(0, at.length)) },
      positive: 2 * x - y > 1,
    };
  });
}

describe('logistic regression', () => {
  const training = { places: 3, passes: 20, rate: 0.5, penalty: 1e-5 };

  it('finds the line that separates, and says on which side a new point lies', () => {
    const model = trainLogistic(examples(600, 1), { ...training, random: seededRandom(2) });
    const fresh = examples(400, 3);
    const right = fresh.filter(({ features, positive }) => probability(model, features) > 0.5 === positive).length;
    assert.ok(right / fresh.length > 0.97, `${right} of ${fresh.length}`);
    const [x, y] = model.weights as unknown as [number, number];
    assert.ok(Math.abs(x / -y - 2) < 0.2, `${x} : ${y}`);
  });

  it('is the same again, and smaller under a penalty', () => {
    const fit = (penalty: number) => trainLogistic(examples(200, 1), { ...training, penalty, random: seededRandom(2) });
    const length = ({ weights }: { weights: Float32Array }) => Math.hypot(...weights);
    assert.deepEqual(fit(1e-5), fit(1e-5));
    assert.ok(length(fit(0.1)) < 0.5 * length(fit(1e-5)));
  });
});
