/**
 * Ctrl+C. A command that runs for long asks for the signal and hands it to the library, which stops between two commits
 * and closes what is open; a second Ctrl+C ends the process at once. A command that never asks is ended by the system,
 * which is safe: a bank's transactions are whole or not there.
 */
import { exitCodes } from './exit.ts';

export interface Interrupt {
  readonly happened: boolean;
  signal(): AbortSignal;
}

export function createInterrupt(): Interrupt {
  const controller = new AbortController();
  let listening = false;
  return {
    get happened() {
      return controller.signal.aborted;
    },
    signal() {
      if (!listening) {
        listening = true;
        process.on('SIGINT', () => {
          if (controller.signal.aborted) process.exit(exitCodes.interrupted);
          controller.abort(new DOMException('Interrupted.', 'AbortError'));
        });
      }
      return controller.signal;
    },
  };
}
