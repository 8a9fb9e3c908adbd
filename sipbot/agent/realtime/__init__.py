"""An agent whose model hears and speaks itself: ``type: realtime``."""
