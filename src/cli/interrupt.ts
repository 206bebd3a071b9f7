/**
 * Ctrl+C. A command that runs for long asks for the signal and hands it to the library, which stops between two commits
 * and closes what is open; a second Ctrl+C ends the process at once. A command that never asks is ended by the system,
 * which is safe: a bank's transactions are whole or not there.
 */
export interface Interrupt {
  readonly happened: boolean;
  signal(): AbortSignal;
  /** Ends the work as Ctrl+C does. @returns false where no command asked for the signal */
  stop(): boolean;
}

export function createInterrupt(): Interrupt {
  const controller = new AbortController();
  let listening = false;
  const stop = () => controller.abort(new DOMException('Interrupted.', 'AbortError'));
  return {
    get happened() {
      return controller.signal.aborted;
    },
    signal() {
      if (!listening) {
        listening = true;
        process.on('SIGINT', () => {
          if (!controller.signal.aborted) return stop();
          // By the system: an exit of our own would tear the model down while it computes.
          process.removeAllListeners('SIGINT');
          process.kill(process.pid, 'SIGINT');
        });
      }
      return controller.signal;
    },
    stop() {
      if (listening) stop();
      return listening;
    },
  };
}
