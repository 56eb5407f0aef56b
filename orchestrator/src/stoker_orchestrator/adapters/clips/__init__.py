"""From the single frames that Livepeer's runner answers to image-to-video to one MP4, in a process apart."""
