/** Where a training is in its data, as a part of its state. */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import type { TrainingState } from './trainable.ts';

/** Steps done. @throws Memory3Error "damaged" if a state does not say. */
export function positionOf({ values }: TrainingState): number {
  const position = z.int().nonnegative().safeParse(values.position);
  if (!position.success) throw new Memory3Error('damaged', 'The state of a training has no position in its data.');
  return position.data;
}
